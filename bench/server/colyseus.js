// Rooms on Colyseus: `node colyseus.js PORT`. A room numbers what is said and tells everybody in
// it. It has no state that would be sent in patches, and sockets are looked after as often as
// Socket.IO does it: every 25 seconds and not every 3.
import { LocalDriver, LocalPresence, Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";

class Chat extends Room {
  maxMessagesPerSecond = Infinity;
  patchRate = null;
  seq = 0;
  users = new Map();

  onCreate() {
    this.onMessage("say", (client, text) => {
      this.seq += 1;
      const from = this.users.get(client.sessionId);
      this.broadcast("said", { seq: this.seq, from, text, at: new Date().toISOString() });
    });
  }

  onJoin(client, { user }) {
    this.users.set(client.sessionId, user);
  }

  onLeave(client) {
    this.users.delete(client.sessionId);
  }
}

const server = new Server({
  driver: new LocalDriver(),
  greet: false,
  gracefullyShutdown: false,
  presence: new LocalPresence(),
  transport: new WebSocketTransport({ maxPayload: 64 * 1024, pingInterval: 25_000 }),
});
server.define("chat", Chat);
await server.listen(Number(process.argv[2]), "127.0.0.1");
