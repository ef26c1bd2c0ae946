// The rooms page: the desk, where one says who one is and where one wants to go, and the room.

import { Talk, element, soon, tint } from "./talk.js";
import { Visit } from "./visit.js";
import { byteLength, nameIn, plural, problemWith } from "./words.js";

const NAME_BYTES = 64;
const ROOM_BYTES = 255;
const RECENT_MOST = 6;
// A room may have ten thousand members; a page that lists them all helps nobody.
const PEOPLE_MOST = 100;

const collator = new Intl.Collator(undefined, { numeric: true });
const part = (id) => document.getElementById(id);
const namesAreSigned = document.documentElement.dataset.namesAreSigned === "true";
const messageBytes = Number(document.documentElement.dataset.maxMessageBytes) || 4096;
const talk = new Talk({ log: part("log"), earlier: part("earlier"), newer: part("newer") });

let visit = null;
let unread = 0;

// ---- What is remembered. A browser may refuse to, and then nothing is.

function recall(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(`innkeeper.${key}`));
  } catch {
    return null;
  }
}

function remember(storage, key, value) {
  try {
    window[storage].setItem(`innkeeper.${key}`, JSON.stringify(value));
  } catch {
    // It is asked again next time.
  }
}

function recentRooms() {
  const rooms = recall("localStorage", "rooms");
  return Array.isArray(rooms) ? rooms.filter((room) => typeof room === "string") : [];
}

// ---- The address: a link to a room can be shared.

function roomInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

function setAddress(room) {
  const hash = room ? `#${encodeURIComponent(room)}` : location.pathname;
  if (roomInAddress() !== room) history.pushState(null, "", hash);
}

// ---- The desk.

function showDesk(room) {
  part("desk").hidden = false;
  part("inn").hidden = true;
  document.title = "innkeeper";
  // At the desk there is no connection that could be in a state.
  delete part("state").dataset.kind;
  part("state-word").textContent = "";
  const name = recall("sessionStorage", "name") ?? recall("localStorage", "name") ?? "";
  part("name").value = name;
  part("room").value = room || recentRooms()[0] || "lobby";
  part("proof").hidden = !namesAreSigned;
  part("token").value = token();
  part("desk-problem").textContent = "";
  showRecent();
  const isUnproven = namesAreSigned && !token();
  part(!name ? "name" : isUnproven ? "token" : "room").focus();
}

/** What proves the name, where names are signed: of this tab, as the name is. */
function token() {
  return (namesAreSigned && recall("sessionStorage", "guest-token")) || "";
}

/** A token is for one name, so that need not be typed. */
function showNameOfToken() {
  const name = nameIn(part("token").value.trim());
  if (!name) return;
  part("name").value = name;
  part("name").setAttribute("aria-invalid", "false");
  part("desk-problem").textContent = "";
}

function showRecent() {
  const rooms = recentRooms();
  part("recent").hidden = rooms.length === 0;
  const tags = rooms.map((room) => {
    const tag = element("button", "tag", room);
    tag.type = "button";
    tag.dir = "auto";
    tag.addEventListener("click", () => {
      part("room").value = room;
      part("enter").requestSubmit();
    });
    const item = element("li");
    item.append(tag);
    return item;
  });
  part("recent-rooms").replaceChildren(...tags);
}

function enterFromDesk(event) {
  event.preventDefault();
  const name = part("name").value.trim();
  const room = part("room").value.trim();
  const shown = part("token").value.trim();
  const badName = problemWith("Your name", name, NAME_BYTES);
  const badToken = namesAreSigned && !shown ? "The token is missing." : null;
  const badRoom = problemWith("The room", room, ROOM_BYTES);
  part("name").setAttribute("aria-invalid", String(Boolean(badName)));
  part("token").setAttribute("aria-invalid", String(Boolean(badToken)));
  part("room").setAttribute("aria-invalid", String(Boolean(badRoom)));
  part("desk-problem").textContent = badName ?? badToken ?? badRoom ?? "";
  if (badName || badToken || badRoom) {
    part(badName ? "name" : badToken ? "token" : "room").focus();
    return;
  }
  if (namesAreSigned) remember("sessionStorage", "guest-token", shown);
  enter(name, room);
}

// ---- The room.

function enter(name, room) {
  visit?.end();
  remember("localStorage", "name", name);
  // A tab keeps its own name, so that one browser can be two people.
  remember("sessionStorage", "name", name);
  remember("sessionStorage", "isIn", true);
  const others = recentRooms().filter((other) => other !== room);
  remember("localStorage", "rooms", [room, ...others].slice(0, RECENT_MOST));
  setAddress(room);
  part("desk").hidden = true;
  part("inn").hidden = false;
  part("room-name").textContent = room;
  part("room-name").title = room;
  part("me").textContent = name;
  for (const fact of ["incarnation", "node", "epoch"]) part(fact).textContent = "–";
  talk.clear();
  hideNotice();
  unread = 0;
  visit = new Visit({ name, room, messageBytes, token: token() }, view);
  showTitle();
  showPeople();
  part("text").focus();
}

function leave() {
  visit?.end();
  visit = null;
  remember("sessionStorage", "isIn", false);
  setAddress("");
  const room = part("room-name").textContent;
  showDesk(room);
}

/** Another token is needed: back to the desk, where it is asked for. */
function askForToken() {
  remember("sessionStorage", "guest-token", "");
  leave();
  part("token").focus();
}

function addressChanged() {
  const room = roomInAddress();
  if (!visit) showDesk(room);
  else if (!room) leave();
  else if (room !== visit.room) enter(visit.name, room);
}

// ---- What a visit shows itself in.

const view = {
  talk,
  state: showState,
  facts: showFacts,
  people: () => soon(showPeople),
  askForToken,
  notice: showNotice,
  noticeIsOver(...about) {
    if (about.includes(part("notice").dataset.about)) hideNotice();
  },
  heard() {
    if (!document.hidden) return;
    unread += 1;
    showTitle();
  },
};

function showState(kind, word) {
  part("state").dataset.kind = kind;
  part("state-word").textContent = word;
}

function showFacts({ incarnation, node, epoch }) {
  part("incarnation").textContent = incarnation;
  part("node").textContent = node;
  part("epoch").textContent = String(epoch);
}

function showTitle() {
  const count = unread > 0 ? `(${unread}) ` : "";
  if (visit) document.title = `${count}${visit.room} · innkeeper`;
}

function showNotice({ about, kind, title, text, code, action }) {
  const notice = part("notice");
  notice.dataset.about = about;
  notice.dataset.kind = kind;
  part("notice-title").textContent = title;
  part("notice-text").textContent = text;
  part("notice-code").textContent = code ?? "";
  part("notice-code").hidden = !code;
  part("notice-act").hidden = !action;
  part("notice-act").textContent = action?.word ?? "";
  part("notice-act").onclick = () => {
    action?.run();
    part("text").focus();
  };
  // What has to be decided is not waved away.
  part("notice-close").hidden = Boolean(action);
  notice.hidden = false;
}

function hideNotice() {
  part("notice").hidden = true;
  part("notice").dataset.about = "";
}

function showPeople() {
  if (!visit) return;
  const users = [...visit.presence.users].sort(([a], [b]) => collator.compare(a, b));
  // Oneself first: that one is looked for most.
  users.sort(([a], [b]) => Number(b === visit.name) - Number(a === visit.name));
  part("people-count").textContent = users.length > 0 ? String(users.length) : "";
  const shown = users.slice(0, PEOPLE_MOST).map(([user, entries]) => person(user, entries.size));
  if (users.length > PEOPLE_MOST) {
    const rest = users.length - PEOPLE_MOST;
    shown.push(element("li", "rest", `and ${plural(rest, "other", "others")}`));
  }
  if (users.length === 0) shown.push(element("li", "rest", "not known just now"));
  part("people").replaceChildren(...shown);
}

function person(user, connections) {
  const item = element("li", "person");
  const name = element("bdi", "from", user);
  name.dataset.tint = tint(user);
  item.append(name);
  if (user === visit.name) item.append(" ", element("span", "you", "you"));
  if (connections > 1) {
    const count = element("span", "times", `×${connections}`);
    count.title = `${connections} connections`;
    item.append(" ", count, element("span", "visually-hidden", " connections"));
  }
  return item;
}

// ---- Saying something.

async function say(event) {
  event.preventDefault();
  const field = part("text");
  const text = field.value;
  if (!visit || text.trim() === "") return;
  // Nothing can be said before somebody decides; the button to do so is shown.
  if (part("state").dataset.kind === "off") return part("notice-act").focus();
  field.value = "";
  showLeft();
  field.focus();
  const isSaid = await visit.say(text);
  // What was not said is not lost, unless something else is being written already.
  if (isSaid || field.value !== "") return;
  field.value = text;
  showLeft();
}

/** Near the limit: how much of it is left. */
function showLeft() {
  const left = messageBytes - byteLength(part("text").value);
  const isNear = left < Math.max(messageBytes / 10, 64);
  const words =
    left < 0
      ? `${plural(-left, "byte", "bytes")} too many`
      : `${plural(left, "byte", "bytes")} left`;
  part("left").textContent = isNear ? words : "";
  part("left").dataset.kind = left < 0 ? "over" : "near";
  part("text").setAttribute("aria-invalid", String(left < 0));
}

function sendOnEnter(event) {
  // With an input method, Enter picks a word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  part("say").requestSubmit();
}

async function copyLink() {
  const button = part("copy");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy it from the address bar";
  }
  setTimeout(() => (button.textContent = "Copy link"), 2_000);
}

// ---- Begin.

function comeBack() {
  if (document.hidden) return;
  unread = 0;
  showTitle();
  visit?.hurry();
}

part("enter").addEventListener("submit", enterFromDesk);
part("token").addEventListener("input", showNameOfToken);
part("say").addEventListener("submit", say);
part("text").addEventListener("keydown", sendOnEnter);
part("text").addEventListener("input", showLeft);
part("leave").addEventListener("click", leave);
part("copy").addEventListener("click", copyLink);
part("notice-close").addEventListener("click", hideNotice);
window.addEventListener("hashchange", addressChanged);
window.addEventListener("online", () => visit?.hurry());
document.addEventListener("visibilitychange", comeBack);

const name = recall("sessionStorage", "name");
// A reload stays in the room; a link that somebody shared asks first.
if (name && roomInAddress() && recall("sessionStorage", "isIn")) enter(name, roomInAddress());
else showDesk(roomInAddress());
