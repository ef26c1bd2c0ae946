// One person with one socket of the published client, and what came of it.

import { setTimeout as pause } from "node:timers/promises";

import { Presence, Socket } from "phoenix";
import WebSocket from "ws";

export const base = process.env.INNKEEPER_URL;
const DEADLINE_MS = 30_000;
const everybody = [];

/** Waits for a condition, but not for ever. */
export async function until(condition, what) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`);
    await pause(5);
  }
}

/** A push or a join as a promise of its answer. */
function answered(push) {
  return new Promise((resolve, reject) => {
    push.receive("ok", resolve);
    push.receive("error", reject);
    push.receive("timeout", () => reject(new Error("no answer in time")));
  });
}

/** Two people in one room. */
export async function members(first, second, topic) {
  const both = [await Member.connect(first), await Member.connect(second)];
  for (const member of both) await member.join(topic);
  return both;
}

export function stopAll() {
  for (const member of everybody.splice(0)) member.socket.disconnect();
}

export class Member {
  said = [];
  came = [];
  left = [];
  errors = [];
  closeCodes = [];
  joins = 0;
  beats = 0;
  opened = 0;
  welcome = null;
  channel = null;
  presence = null;

  static async connect(user, options = {}) {
    const member = new Member(user, options);
    everybody.push(member);
    member.socket.connect();
    await until(() => member.socket.isConnected(), `${user} is connected`);
    return member;
  }

  constructor(user, { url = base, ...options }) {
    const address = `${url.replace("http", "ws")}/socket`;
    this.socket = new Socket(address, { transport: WebSocket, params: { user }, ...options });
    this.socket.onOpen(() => (this.opened += 1));
    this.socket.onClose((event) => this.closeCodes.push(event.code));
    this.socket.onMessage(({ topic, event }) => {
      if (topic === "phoenix" && event === "phx_reply") this.beats += 1;
    });
  }

  /** Joins; the answer is in `welcome`, that of each further join by itself too. */
  async join(topic) {
    const channel = this.socket.channel(topic);
    this.channel = channel;
    this.presence = new Presence(channel);
    this.presence.onJoin((user, current) => current ?? this.came.push(user));
    this.presence.onLeave((user, { metas }) => metas.length > 0 || this.left.push(user));
    channel.on("said", (line) => this.said.push(line));
    channel.onError((reason) => this.errors.push(reason?.reason ?? "socket"));
    const join = channel.join();
    join.receive("ok", (welcome) => {
      this.welcome = welcome;
      this.joins += 1;
    });
    const welcome = await answered(join).catch((refusal) => {
      // It would try again for ever.
      channel.leave();
      throw refusal;
    });
    return { welcome };
  }

  push(event, payload) {
    return answered(this.channel.push(event, payload));
  }

  say(text) {
    return this.push("say", { text });
  }

  leave() {
    return answered(this.channel.leave());
  }

  /** Who is there, as Presence has it: names, and how often. */
  here() {
    const users = this.presence.list((user, { metas }) =>
      metas.length > 1 ? `${user}*${metas.length}` : user,
    );
    return users.sort().join(" ");
  }

  /** Waits until everything that the server sent before now is here. */
  async beat() {
    await new Promise((resolve, reject) => {
      if (!this.socket.ping(resolve)) reject(new Error("not connected"));
    });
  }

  /** The socket of `ws` below. */
  transport() {
    return this.socket.connection.transport;
  }
}
