// One stay of one person in one room: what the room sends, in the order in which it is to be shown.

import { Presence, Refused, Socket } from "./channel.js";
import { byteLength, passes, sentence, whatToDo } from "./words.js";

const SOCKET = "/socket/websocket";
const RESTARTED = "Room restarted: new incarnation, history gone.";
// After how many tries in a row that failed the page asks why.
const TRIES_BEFORE_ASKING = 2;

export class Visit {
  name;
  room;
  presence = new Presence();
  #view;
  #params;
  #socket;
  #channel;
  #messageBytes;
  #incarnation = null;
  #lastSeq = 0;
  // What is still under way then is nobody's business any more.
  #isOver = false;

  /**
   * @param {{name: string, room: string, messageBytes: number, token: string}} guest `token` where
   *   names are signed
   * @param {object} view where things are shown: see rooms.js
   */
  constructor({ name, room, messageBytes, token }, view) {
    this.name = name;
    this.room = room;
    this.#messageBytes = messageBytes;
    this.#view = view;
    this.#params = token ? { user: name, token } : { user: name };
    this.#socket = new Socket(SOCKET, this.#params, (state, detail) =>
      this.#socketIs(state, detail),
    );
    this.#channel = this.#socket.channel(`room:${room}`);
    this.#channel.onjoin = (welcome) => this.#joined(welcome);
    this.#channel.onrefused = (refused) => this.#refused(refused);
    this.#channel.onerror = (reason) => this.#failed(reason);
    this.#channel.onclose = () => this.#stopped();
    this.#channel.onevent = (event, payload) => this.#heard(event, payload);
    this.#channel.join();
    this.#socket.connect();
  }

  end() {
    this.#isOver = true;
    this.#channel.leave();
    this.#socket.close();
  }

  hurry() {
    this.#socket.hurry();
  }

  /** Says something; what comes of it is shown. Whether it is certain that it was said. */
  async say(text) {
    try {
      const bytes = byteLength(text);
      if (bytes > this.#messageBytes) throw tooLong(bytes, this.#messageBytes);
      await this.#channel.push("say", { text });
      this.#view.noticeIsOver("say");
      return true;
    } catch (refused) {
      if (!(refused instanceof Refused)) throw refused;
      if (this.#isOver) return true;
      const maybe = refused.ran === "unknown";
      this.#view.notice({
        about: "say",
        kind: "error",
        title: maybe ? "This may have been said, or not" : "This was not said",
        text: `${sentence(refused.message)} ${whatToDo(refused.code)}`,
        code: refused.code,
      });
      return false;
    }
  }

  #socketIs(state, detail) {
    if (state === "closed" || state === "open") return;
    this.presence.reset();
    this.#view.people();
    this.#view.state("busy", this.#incarnation ? "reconnecting" : "connecting");
    if (state !== "lost") return;
    if (detail.code === 1012) {
      this.#view.notice({
        about: "socket",
        kind: "info",
        title: "The server restarts",
        text: "This page comes back by itself.",
      });
    }
    if (!detail.wasOpen && detail.tries === TRIES_BEFORE_ASKING) this.#askWhy();
  }

  /** A browser does not tell a page why a socket was refused, so it asks in another way. */
  async #askWhy() {
    const notice = { about: "socket", kind: "error" };
    try {
      // A foreign page is refused whatever it says; a guest, by name and token.
      let answer = await fetch(SOCKET, { method: "POST" });
      if (answer.status !== 403) answer = await fetch(`${SOCKET}?${new URLSearchParams(this.#params)}`);
      const { code, detail } = await answer.json();
      if (this.#isOver) return;
      if (answer.status === 401) return this.#isUnproven(detail, code);
      if (answer.status !== 403) return;
      const text = `${sentence(detail)} ${whatToDo(code)}`;
      this.#view.notice({ ...notice, title: "The server does not let this page in", text, code });
    } catch {
      if (this.#isOver) return;
      const text = "This page keeps trying, and joins again when it is back.";
      this.#view.notice({ ...notice, title: "The server cannot be reached", text });
    }
  }

  /** No token, or none that is good: to try on is of no use. */
  #isUnproven(detail, code) {
    this.#socket.close();
    this.#view.state("off", "not let in");
    this.#view.notice({
      about: "socket",
      kind: "error",
      title: "The server does not take this name",
      text: `${sentence(detail)} ${whatToDo(code)}`,
      code,
      action: { word: "Show a token", run: () => this.#view.askForToken() },
    });
  }

  #joined(welcome) {
    const isNewRun = welcome.incarnation !== this.#incarnation;
    const isFirst = this.#incarnation === null;
    this.#view.state("on", "connected");
    this.#view.noticeIsOver("join", "socket");
    this.#view.facts(welcome);
    if (isNewRun && !isFirst) this.#newRun();
    this.#incarnation = welcome.incarnation;
    this.#view.talk.welcome(() => this.#catchUp(welcome.history, isFirst));
  }

  #newRun() {
    this.#lastSeq = 0;
    this.#view.talk.endRun();
    this.#view.talk.note(`${RESTARTED} The lines above are only on this page.`, "restart");
    this.#view.notice({
      about: "run",
      kind: "info",
      title: RESTARTED,
      text: "What was said before is no longer in the room. You are in the new one.",
    });
  }

  #catchUp(history, isFirst) {
    const first = history.find((line) => line.seq > this.#lastSeq);
    const missed = first ? first.seq - this.#lastSeq - 1 : 0;
    if (missed > 0 && isFirst) {
      this.#view.talk.before("The room remembers its last 100 lines; there were more.");
    } else if (missed > 0) {
      this.#view.talk.note(`${missed} lines were said meanwhile that the room has forgotten.`);
    }
    for (const line of history) this.#said(line);
  }

  /** Shows a line once, however often it comes: in the history, and as it is said. */
  #said(line) {
    if (line.seq <= this.#lastSeq) return;
    this.#lastSeq = line.seq;
    this.#view.talk.said(line, line.from === this.name);
  }

  #heard(event, payload) {
    if (this.presence.take(event, payload)) return this.#view.people();
    if (event !== "said") return;
    this.#said(payload);
    this.#view.heard();
  }

  #refused(refused) {
    if (refused.code === "unauthorized") return this.#isUnproven(refused.message, refused.code);
    const isForbidden = refused.code === "forbidden";
    const again = passes(refused.code);
    this.#view.state(again ? "busy" : "off", again ? "trying again" : "not let in");
    this.#view.notice({
      about: "join",
      kind: "error",
      title: "The room cannot be joined",
      // The page may be here, or the socket would not be open: it is the room that is not for all.
      text: `${sentence(refused.message)} ${whatToDo(isForbidden ? "not_for_you" : refused.code)}`,
      code: refused.code,
      action: again ? null : { word: "Try again", run: () => this.#joinAnew() },
    });
    return again;
  }

  /** The room crashed or moved, or dropped this page. The channel joins again by itself. */
  #failed({ reason }) {
    const isSlow = reason === "slow_consumer";
    this.presence.reset();
    this.#view.people();
    this.#view.state("busy", "joining again");
    this.#view.notice({
      about: "join",
      kind: "info",
      title: isSlow ? "This connection could not keep up" : "The room ended with an error",
      text: isSlow ? "The room went on without it. Joining again." : "Joining the next one.",
      code: reason,
    });
  }

  #stopped() {
    this.presence.reset();
    this.#view.people();
    this.#view.state("off", "room stopped");
    this.#view.talk.endRun();
    this.#view.notice({
      about: "join",
      kind: "error",
      title: "The room was stopped",
      text: "Somebody with admin rights ended it, and what was said in it is gone.",
      action: { word: "Open it anew", run: () => this.#joinAnew() },
    });
  }

  #joinAnew() {
    this.#view.state("busy", "joining");
    this.#channel.join();
  }
}

function tooLong(bytes, most) {
  const message = `a message may have ${most} bytes, this one has ${bytes}`;
  return new Refused({ code: "payload_too_large", message, ran: "no" });
}
