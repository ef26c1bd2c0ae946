// The dashboard: which page is open, and what all of them share.

import { Desk } from "./desk.js";
import { home } from "./home.js";
import { rooms } from "./list.js";
import { room } from "./one.js";
import { nodes } from "./house.js";
import { tree } from "./tree.js";
import { events } from "./events.js";
import { metrics } from "./metrics.js";

const PAGES = { home, rooms, room, tree, nodes, events, metrics };
const part = (id) => document.getElementById(id);
const desk = new Desk({ state: showState, token: askForToken, sure: askWhetherSure });

let close = () => {};

/** `#/rooms?sort=members` -> the page `rooms`, with `sort`. */
function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const name = Object.hasOwn(PAGES, path) ? path : "home";
  return { name, params: new URLSearchParams(query) };
}

function open() {
  // The link that skips to the page leads to none of ours.
  if (location.hash === "#main") return;
  const { name, params } = place();
  close();
  part("main").replaceChildren();
  const page = PAGES[name];
  document.title = `${page.title(params)} · innkeeper`;
  for (const link of part("rack").children) {
    const isHere = link.hash === `#/${name}` || (name === "room" && link.hash === "#/rooms");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    // On a phone the rack is longer than the screen.
    if (isHere) link.scrollIntoView({ block: "nearest", inline: "center" });
  }
  close = page.open(desk, part("main"), params);
}

function showState(kind, word) {
  part("state").dataset.kind = kind;
  part("state-word").textContent = word;
}

/** Asks for the token until one is given. */
function askForToken(problem) {
  part("token-problem").textContent = problem;
  part("token-text").value = "";
  const dialog = part("token");
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    part("token-form").onsubmit = () => resolve(part("token-text").value);
    // Without it there is nothing to be seen: the question stays.
    dialog.oncancel = (event) => event.preventDefault();
  });
}

function askWhetherSure({ title, text, yes }) {
  part("sure-title").textContent = title;
  part("sure-text").textContent = text;
  part("sure-yes").textContent = yes;
  const dialog = part("sure");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

function search(event) {
  const isTyping = event.target.matches("input, textarea, select");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = document.querySelector("input[type=search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
}

window.addEventListener("hashchange", open);
document.addEventListener("keydown", search);
desk.begin();
open();
