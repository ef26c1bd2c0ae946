// What the page says about refusals: what happened is the server's to say, what to do is said here.

const TO_DO = {
  bad_key: "Choose a room name of 1 to 255 bytes without control characters.",
  bad_request: "Reload this page; if that does not help, it and the server do not fit together.",
  unauthorized: "Show a token that is for this name; whoever runs this server has them.",
  forbidden: "Open this page under the address that the server printed when it started.",
  not_for_you: "Choose another room, or leave and show another token.",
  too_many_members: "Wait until somebody leaves, or choose another room.",
  start_declined: "Choose another room.",
  start_cycle: "Choose another room.",
  payload_too_large: "Shorten it and send it again.",
  rate_limited: "Wait a moment, then try again.",
  max_rooms: "Wait until a room ends, or choose one that is there already.",
  draining: "The server is shutting down. This page comes back as soon as it can.",
  not_owner: "The room is on another node. This page tries again by itself.",
  frozen: "The node is cut off from its cluster. This page tries again by itself.",
  parked: "Wait: the server lets it start again later. Or choose another room.",
  mailbox_full: "The room has more to do than it can take. Wait a moment, then try again.",
  not_delivered: "Try again.",
  start_failed: "Try again; whoever runs this server finds the reason in its log.",
  start_timeout: "Try again in a moment.",
  unknown: "Look above whether it is there before you send it again.",
  unjoined: "Wait until this page has joined again, then send it again.",
  offline: "Wait until this page is connected again, then send it again.",
};

// These do not pass by waiting: somebody has to do something first.
const FOR_GOOD = new Set([
  "bad_key", "bad_request", "unauthorized", "forbidden", "start_declined", "start_cycle",
  "too_many_members", "payload_too_large",
]);

export const passes = (code) => !FOR_GOOD.has(code);

export function whatToDo(code) {
  return TO_DO[code] ?? "Try again in a moment.";
}

/** As a sentence: a capital first, a full stop last. */
export function sentence(text) {
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

export function plural(count, one, many) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** The name that a signed token is for, or null. Whether the token is good, the server says. */
export function nameIn(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = Uint8Array.from(atob(part), (char) => char.codePointAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(claims));
    return typeof sub === "string" ? sub : null;
  } catch {
    return null;
  }
}

const bytes = new TextEncoder();

/** How long a text is for the server, which counts bytes. */
export const byteLength = (text) => bytes.encode(text).length;

// What the server refuses in names.
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** What is wrong with a name by the server's rules, or null. */
export function problemWith(what, name, mostBytes) {
  const length = byteLength(name);
  if (length === 0) return `${what} is missing.`;
  if (length > mostBytes) {
    return `${what} may have ${mostBytes} bytes, this has ${length}. Shorten it.`;
  }
  if (CONTROL.test(name)) return `${what} may not have control characters.`;
  return null;
}
