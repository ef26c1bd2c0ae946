// A client of Phoenix Channels V2, as small as the page needs it: one socket, the channels on it,
// and who is in them. It knows nothing of the page.

const JOIN_MS = 10_000;
const PUSH_MS = 10_000;
// The server hangs up on a socket that was silent for a minute.
const BEAT_MS = 25_000;

/** A push or a join that did not get its "ok": the server's words, or our own. */
export class Refused extends Error {
  /** @param {{code: string, message: string, ran: "no"|"yes"|"unknown"}} refusal */
  constructor({ code, message, ran }) {
    super(message);
    this.code = code;
    this.ran = ran;
  }
}

const offline = () =>
  new Refused({ code: "offline", message: "there is no connection at the moment", ran: "no" });
const unjoined = () =>
  new Refused({ code: "unjoined", message: "this page is not in the room just now", ran: "no" });
// Nobody can tell: it was sent, and no answer came.
const unanswered = (why) => new Refused({ code: "unknown", message: why, ran: "unknown" });

/**
 * How long to wait before the next try. Longer each time, up to a bound, and never the same for
 * everybody: after a restart all clients of a server come back.
 */
export function backoff(tries, firstMs = 200, mostMs = 8_000) {
  const full = Math.min(mostMs, firstMs * 2 ** Math.min(tries, 10));
  return full / 2 + (Math.random() * full) / 2;
}

/** A WebSocket that comes back when it is lost, with the channels that are on it. */
export class Socket {
  #address;
  #report;
  #ws = null;
  #isOpen = false;
  #wanted = false;
  #tries = 0;
  #retryTimer = 0;
  #beatTimer = 0;
  #beat = null;
  #refs = 0;
  #channels = new Map();

  /**
   * @param {string} path where the server's socket is
   * @param {Record<string, string>} params what to say when connecting
   * @param {(state: "connecting"|"open"|"lost"|"closed", detail: object) => void} report
   */
  constructor(path, params, report) {
    const address = new URL(path, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    address.search = new URLSearchParams({ ...params, vsn: "2.0.0" }).toString();
    this.#address = address.toString();
    this.#report = report;
  }

  get isOpen() {
    return this.#isOpen;
  }

  connect() {
    this.#wanted = true;
    this.#open();
  }

  /** Ends it for good. */
  close() {
    this.#wanted = false;
    clearTimeout(this.#retryTimer);
    this.#drop(1000, "left");
    this.#report("closed", {});
  }

  /** Does not wait out the time until the next try: there is reason to think it will work. */
  hurry() {
    if (this.#wanted && !this.#ws) this.#open();
  }

  channel(topic) {
    const channel = new Channel(topic, this);
    this.#channels.set(topic, channel);
    return channel;
  }

  /** Only the channel itself calls this, once it has been left. */
  forget(channel) {
    if (this.#channels.get(channel.topic) === channel) this.#channels.delete(channel.topic);
  }

  nextRef() {
    this.#refs += 1;
    return String(this.#refs);
  }

  send(frame) {
    if (this.#isOpen) this.#ws.send(JSON.stringify(frame));
  }

  #open() {
    clearTimeout(this.#retryTimer);
    if (this.#ws) return;
    this.#report("connecting", { tries: this.#tries });
    const ws = new WebSocket(this.#address);
    this.#ws = ws;
    // What comes of a socket that has been replaced is of no interest.
    const ifCurrent = (handle) => (event) => {
      if (this.#ws === ws) handle(event);
    };
    ws.onopen = ifCurrent(() => this.#opened());
    ws.onmessage = ifCurrent((event) => this.#heard(event.data));
    ws.onclose = ifCurrent((event) => this.#lost(event.code, event.reason));
  }

  #opened() {
    this.#isOpen = true;
    this.#tries = 0;
    this.#beat = null;
    this.#beatTimer = setInterval(() => this.#sendBeat(), BEAT_MS);
    this.#report("open", {});
    for (const channel of this.#channels.values()) channel.socketOpened();
  }

  #sendBeat() {
    // The last one was not answered: the other end is gone, though nobody said so.
    if (this.#beat) return this.#drop(4000, "no heartbeat");
    this.#beat = this.nextRef();
    this.send([null, this.#beat, "phoenix", "heartbeat", {}]);
  }

  #heard(data) {
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    if (topic === "phoenix") {
      if (ref === this.#beat) this.#beat = null;
      return;
    }
    this.#channels.get(topic)?.heard(joinRef, ref, event, payload);
  }

  /** Closes what there is; if the socket is wanted, it comes back. */
  #drop(code, reason) {
    const ws = this.#ws;
    if (!ws) return;
    // The closing handshake may take as long as a dead connection does: it is not waited for.
    this.#lost(code, reason);
    ws.close(code, reason);
  }

  #lost(code, reason) {
    const wasOpen = this.#isOpen;
    this.#ws = null;
    this.#isOpen = false;
    clearInterval(this.#beatTimer);
    for (const channel of this.#channels.values()) channel.socketLost();
    if (!this.#wanted) return;
    const waitMs = backoff(this.#tries);
    this.#tries += 1;
    this.#report("lost", { code, reason, wasOpen, tries: this.#tries, waitMs });
    this.#retryTimer = setTimeout(() => this.#open(), waitMs);
  }
}

/**
 * One topic of a socket. It joins again by itself when the room behind it ends with an error, or
 * the socket comes back; not when it was closed by the server or left.
 */
export class Channel {
  topic;
  /** "idle", "joining", "joined", "waiting" for the next try, or "over". */
  state = "idle";
  /** What happens to it; the owner sets those it wants. */
  onjoin = (_welcome) => {};
  onrefused = (_refused) => true; // whether to try again
  onerror = (_reason) => {};
  onclose = () => {};
  onevent = (_event, _payload) => {};

  #socket;
  #wanted = false;
  #joinRef = null;
  #pushes = new Map();
  #tries = 0;
  #timer = 0;

  constructor(topic, socket) {
    this.topic = topic;
    this.#socket = socket;
  }

  /** Joins now, and whenever it has to from now on. */
  join() {
    this.#wanted = true;
    this.#tries = 0;
    if (this.#socket.isOpen) this.#join();
    else this.state = "waiting";
  }

  /** Leaves for good; the answer is not waited for. */
  leave() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    if (this.#joinRef) this.#send("phx_leave", {});
    this.#end("over");
    this.#socket.forget(this);
  }

  /**
   * Says something and waits for the answer.
   * @throws {Refused} with `ran` telling whether it may have happened nevertheless
   */
  push(event, payload) {
    if (!this.#socket.isOpen) return Promise.reject(offline());
    if (this.state !== "joined") return Promise.reject(unjoined());
    return new Promise((resolve, reject) => {
      this.#expect(this.#send(event, payload), PUSH_MS, resolve, reject);
    });
  }

  heard(joinRef, ref, event, payload) {
    // Of a join that is over.
    if (joinRef !== null && joinRef !== this.#joinRef) return;
    if (event === "phx_reply") return this.#answer(ref, payload);
    if (event === "phx_error") return this.#failed(payload);
    if (event === "phx_close") return this.#closed();
    if (this.state === "joined") this.onevent(event, payload);
  }

  socketOpened() {
    if (this.#wanted) this.#join();
  }

  socketLost() {
    clearTimeout(this.#timer);
    this.#end(this.#wanted ? "waiting" : "over");
  }

  #join() {
    clearTimeout(this.#timer);
    this.state = "joining";
    this.#joinRef = this.#socket.nextRef();
    this.#send("phx_join", {}, this.#joinRef);
    // Not by a promise: what comes right behind the answer has to find this joined.
    this.#expect(
      this.#joinRef,
      JOIN_MS,
      (welcome) => this.#joined(welcome),
      (refused) => this.#refused(refused),
    );
  }

  #joined(welcome) {
    this.state = "joined";
    this.#tries = 0;
    this.onjoin(welcome);
  }

  #refused(refused) {
    // The socket went away, or it was left: there is nothing to try again.
    if (this.state !== "joining") return;
    // If it timed out, the server may let us in yet.
    if (refused.ran === "unknown") this.#send("phx_leave", {});
    this.#end("waiting");
    if (this.onrefused(refused)) this.#joinLater();
    else this.#wanted = false;
  }

  /** The room crashed or moved, or dropped us. */
  #failed(reason) {
    this.#end("waiting");
    this.onerror(reason);
    this.#joinLater();
  }

  #closed() {
    this.#wanted = false;
    this.#end("over");
    this.onclose();
  }

  #joinLater() {
    const waitMs = backoff(this.#tries);
    this.#tries += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#wanted && this.#socket.isOpen) this.#join();
    }, waitMs);
  }

  #end(state) {
    this.state = state;
    this.#joinRef = null;
    const pushes = [...this.#pushes.values()];
    this.#pushes.clear();
    for (const push of pushes) {
      clearTimeout(push.timer);
      push.reject(unanswered("the connection to the room ended before the answer came"));
    }
  }

  /** Sends a frame of this join; its reference. */
  #send(event, payload, ref = this.#socket.nextRef()) {
    this.#socket.send([this.#joinRef, ref, this.topic, event, payload]);
    return ref;
  }

  #expect(ref, withinMs, resolve, reject) {
    const timer = setTimeout(() => {
      this.#pushes.delete(ref);
      reject(unanswered(`no answer came within ${withinMs / 1000} seconds`));
    }, withinMs);
    this.#pushes.set(ref, { resolve, reject, timer });
  }

  #answer(ref, { status, response }) {
    const push = this.#pushes.get(ref);
    if (!push) return;
    this.#pushes.delete(ref);
    clearTimeout(push.timer);
    if (status === "ok") push.resolve(response);
    else push.reject(new Refused(response));
  }
}

/** Who is in a room: users, each with one entry per connection, as `Phoenix.Presence` tells it. */
export class Presence {
  /** @type {Map<string, Map<string, object>>} user, then phx_ref, then the entry */
  users = new Map();
  // A change that comes before the whole is of the join before.
  #isWhole = false;

  /** Whether the event was about presence. */
  take(event, payload) {
    if (event === "presence_state") this.#replace(payload);
    else if (event === "presence_diff") this.#change(payload);
    else return false;
    return true;
  }

  reset() {
    this.users.clear();
    this.#isWhole = false;
  }

  #replace(state) {
    this.users.clear();
    this.#isWhole = true;
    this.#add(state);
  }

  #change({ joins, leaves }) {
    if (!this.#isWhole) return;
    this.#add(joins);
    for (const [user, { metas }] of Object.entries(leaves)) {
      const entries = this.users.get(user);
      for (const meta of metas) entries?.delete(meta.phx_ref);
      if (entries?.size === 0) this.users.delete(user);
    }
  }

  #add(users) {
    for (const [user, { metas }] of Object.entries(users)) {
      const entries = this.users.get(user) ?? new Map();
      for (const meta of metas) entries.set(meta.phx_ref, meta);
      this.users.set(user, entries);
    }
  }
}
