// Rooms on Socket.IO 4, over WebSocket only: `node socketio.js PORT`. A room numbers what is said
// and tells everybody in it.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });
const seqs = new Map();

io.on("connection", (socket) => {
  const from = socket.handshake.query.user;
  let room;
  socket.on("join", (name, joined) => {
    room = name;
    socket.join(room);
    joined();
  });
  socket.on("say", (text) => {
    const seq = (seqs.get(room) ?? 0) + 1;
    seqs.set(room, seq);
    io.to(room).emit("said", { seq, from, text, at: new Date().toISOString() });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
