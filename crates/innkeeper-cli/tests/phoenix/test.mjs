// The published client of Phoenix Channels, unmodified, against a running server whose address is
// in INNKEEPER_URL. Where the server has to be restarted, this asks for it by a line on standard
// output, and goes on when its clients have come back.

import assert from "node:assert/strict";
import { test as unbounded } from "node:test";

import { Member, base, members, stopAll, until } from "./member.mjs";

const LOBBY = "room:lobby";

const roomOf = async (key) => (await fetch(`${base}/api/rooms/${key}`)).json();

/** A test that ends, and leaves nobody behind who would have the next ones wait. */
function test(name, run) {
  unbounded(name, { timeout: 60_000 }, () => run().finally(stopAll));
}

test("a join is answered with the room, its incarnation and its history", async () => {
  const ann = await Member.connect("ann");
  const { welcome } = await ann.join(LOBBY);
  const fields = ["epoch", "history", "incarnation", "node", "room"];
  assert.deepEqual(Object.keys(welcome).sort(), fields);
  assert.deepEqual([welcome.room, welcome.epoch, welcome.history], ["lobby", 0, []]);
  const room = await roomOf("lobby");
  assert.equal(welcome.incarnation, room.incarnation);
  assert.equal(welcome.node, room.node);
});

test("what is said is answered with its number and told to both without a gap", async () => {
  const [ann, bob] = await members("ann", "bob", "room:talk");
  const pushes = [];
  for (let n = 0; n < 50; n += 1) {
    pushes.push(ann.say(`ann ${n}`), bob.say(`bob ${n}`));
  }
  const answered = (await Promise.all(pushes)).map(({ seq }) => seq);
  const all = Array.from({ length: 100 }, (_, n) => n + 1);
  assert.deepEqual(answered.sort((a, b) => a - b), all);
  for (const member of [ann, bob]) {
    await until(() => member.said.length === 100, "all lines");
    assert.deepEqual(member.said.map(({ seq }) => seq), all);
  }
  const texts = ann.said.filter(({ from }) => from === "bob").map(({ text }) => text);
  assert.deepEqual(texts, Array.from({ length: 50 }, (_, n) => `bob ${n}`));
  const cy = await Member.connect("cy");
  const { welcome } = await cy.join("room:talk");
  assert.deepEqual(welcome.history, ann.said);
});

test("Presence knows who is there, and follows who comes and goes", async () => {
  const [ann, bob] = await members("ann", "bob", "room:presence");
  await until(() => ann.here() === "ann bob" && bob.here() === "ann bob", "both");
  const again = await Member.connect("bob");
  await again.join("room:presence");
  await until(() => ann.here() === "ann bob*2", "the second connection");
  bob.channel.leave();
  await until(() => ann.here() === "ann bob", "the first connection gone");
  assert.deepEqual(ann.left, [], "nobody has left as long as one connection is there");
  again.socket.disconnect();
  await until(() => ann.here() === "ann", "the last connection gone");
  assert.deepEqual(ann.came, ["ann", "bob"]);
  assert.deepEqual(ann.left, ["bob"]);
});

test("a leave is answered ok and closes the channel for good", async () => {
  const [ann, bob] = await members("ann", "bob", "room:leave");
  await bob.leave();
  assert.equal(bob.channel.state, "closed");
  await ann.say("are you there?");
  await bob.beat();
  assert.deepEqual(bob.said, []);
  assert.equal((await roomOf("leave")).members, 1);
});

test("a message that is too long is refused, and the next one is said", async () => {
  const ann = await Member.connect("ann");
  await ann.join("room:long");
  const refused = await ann.say("é".repeat(2049)).catch((refusal) => refusal);
  assert.equal(refused.code, "payload_too_large");
  assert.equal(refused.ran, "no");
  assert.match(refused.message, /at most 4096 bytes, got 4098/);
  assert.deepEqual(await ann.say("é".repeat(2048)), { seq: 1 });
});

test("an unknown event and a topic that is no room are refused in words", async () => {
  const ann = await Member.connect("ann");
  await ann.join("room:words");
  const refused = await ann.push("shout", { text: "hey" }).catch((refusal) => refusal);
  assert.deepEqual([refused.code, refused.ran], ["bad_request", "no"]);
  assert.match(refused.message, /unknown event "shout"/);
  const topic = await ann.join("lobby").catch((refusal) => refusal);
  assert.deepEqual([topic.code, topic.ran], ["bad_request", "no"]);
  const key = await ann.join("room:").catch((refusal) => refusal);
  assert.deepEqual([key.code, key.ran], ["bad_key", "no"]);
});

test("a second join of a topic on one socket takes the place of the first", async () => {
  const [ann, bob] = await members("ann", "bob", "room:twice");
  const first = ann.channel;
  await ann.join("room:twice");
  await until(() => first.state === "closed", "the first is closed");
  await bob.say("once");
  await until(() => ann.said.length > 0, "the line");
  await ann.beat();
  assert.deepEqual(ann.said.map(({ text }) => text), ["once"]);
  await until(() => bob.here() === "ann bob", "one connection each");
});

test("heartbeats are answered and keep the socket", async () => {
  const ann = await Member.connect("ann", { heartbeatIntervalMs: 20 });
  await until(() => ann.beats >= 5, "five beats");
  assert.equal(ann.socket.isConnected(), true);
  assert.equal(ann.opened, 1);
});

test("a client that offers a token in its subprotocol is let in", async () => {
  const ann = await Member.connect("ann", { authToken: "abc" });
  await ann.join(LOBBY);
});

test("a room that an admin stops is closed, and the client does not join again", async () => {
  const [ann, bob] = await members("ann", "bob", "room:stopped");
  const stopped = await fetch(`${base}/api/rooms/stopped`, { method: "DELETE" });
  assert.equal(stopped.status, 204);
  await until(() => ann.channel.state === "closed" && bob.channel.state === "closed", "the close");
  await ann.beat();
  assert.equal((await roomOf("stopped")).code, "not_found");
});

test("a member that was dropped as slow joins again by itself", async () => {
  const [ann, slow] = await members("ann", "slow", "room:slow");
  const { incarnation } = slow.welcome;
  slow.transport().pause();
  const text = "x".repeat(4000);
  await until(async () => {
    await Promise.all(Array.from({ length: 20 }, () => ann.say(text)));
    return ann.here() === "ann";
  }, "it is dropped");
  slow.transport().resume();
  await until(() => slow.joins === 2 && ann.here() === "ann slow", "it is back");
  assert.deepEqual(slow.errors, ["slow_consumer"]);
  assert.equal(slow.welcome.incarnation, incarnation);
  assert.equal(slow.opened, 1, "on the same socket");
});

test("clients come back by themselves when the server restarts, to a new incarnation", async () => {
  const [ann, bob] = await members("ann", "bob", "room:restart");
  await ann.say("before");
  const { incarnation } = ann.welcome;
  console.log("# please restart the server");
  await until(() => ann.joins === 2 && bob.joins === 2, "both are back");
  for (const member of [ann, bob]) {
    assert.equal(member.closeCodes[0], 1012);
    assert.equal(member.welcome.incarnation, ann.welcome.incarnation);
    assert.notEqual(member.welcome.incarnation, incarnation);
  }
  await until(() => ann.here() === "ann bob" && bob.here() === "ann bob", "both are seen");
  assert.deepEqual(await bob.say("after"), { seq: 1 });
  await until(() => ann.said.at(-1)?.text === "after", "the line");
});
