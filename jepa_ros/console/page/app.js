"use strict";
// The page: one WebSocket, what arrives on it, and what a person says. It decides nothing.
const $ = (id) => document.getElementById(id);
let socket = null, page = 0, state = null, bitmap = null, rules = [], asked = 0, waiting = new Map();
let sketch = [], drawingRule = false, scale = 1, retry = 500, driven = null, lastState = 0, pictureAt = 0, chose = false, opened = {}, told = 0, drawing = false, mapped = null;
const first = {}, NEEDED = ["body", "gate", "planner", "desk", "inputs"];

// ---------------------------------------------------------------- the line
function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.binaryType = "blob";
  socket.onopen = () => { retry = 500; lastState = Date.now(); link("connected", false); front(); };
  socket.onclose = () => { lastState = 0; link("connection lost: trying again", true); letGo(); setTimeout(connect, retry); retry = Math.min(2 * retry, 5000); };
  socket.onmessage = async (event) => {
    if (typeof event.data !== "string") return picture(event.data);
    const message = JSON.parse(event.data);
    if (message.kind === "state") { heard(message); lastState = Date.now(); link("connected", false); soon(); }
    else if (message.kind === "hello") { page = message.page; state = null; say("interventions", {}, true); futures(); memory(); }
    else if (message.kind === "answer") answered(message);
    else if (message.kind === "refused" || message.kind === "trouble") tell(message.why, true);
  };
}

// Only what changed is sent; points of the curves are added to those before. Nothing is shown before all of it came once.
function heard(message) {
  if (!state) {
    Object.assign(first, message);
    if (!NEEDED.every((part) => part in first)) return;
    message = first;
  }
  const points = state ? state.curves : [];
  state = Object.assign(state || {}, message);
  state.curves = points.concat(message.points || []).slice(-600);
  if (message.map) message.map.data = Int8Array.from(atob(message.map.cells), (c) => c.charCodeAt(0));
  if ("tree" in message) showTree(message.tree);
  if ("areas" in message) say("rules", {}, true);                     // the gate has another set
  if ("strips" in message && message.strips) Parts.strips($("strips"), $("futures-text"), message.strips, (number) => say("goal", { remembered: number }));
  if (!chose && state.body) { chose = true; $("futures").open = !state.body.paths; }
}

function showTree(tree) {
  $("thinking").hidden = !tree;
  if (!tree) return;
  Draw.tree($("tree"), tree);
  $("tree-text").textContent = `${tree.count} states tried with ${tree.calls} steps of the model; ${tree.solved ? "a way to the goal was found" : "no way to the goal was found, the best one is shown"} (orange, ${tree.way.length - 1} plans one after the other). Ring: the goal.`;
}

function link(text, lost) { $("link").textContent = text; $("link").className = lost ? "lost" : ""; }

function say(what, more = {}, quiet = false) {
  if (!socket || socket.readyState !== WebSocket.OPEN) { if (!quiet) tell("not connected", true); return; }
  const id = ++asked;
  waiting.set(id, { what, quiet, more });
  socket.send(JSON.stringify({ do: what, id, ...more }));
}

function answered(message) {
  const { what, quiet, more } = waiting.get(message.id) || { what: "", quiet: false, more: {} };
  waiting.delete(message.id);
  if (message.error) return tell(message.error, true);
  if (what === "mode" && state) state.desk.approve = more.on;         // the desk's own word comes a moment later
  if (what === "rules") { rules = message.done.guardrails || []; if (document.activeElement !== $("costs")) $("costs").value = message.done.costs || ""; listRules(); return; }
  if (what === "interventions") return interventions(message.done);
  if (what === "bags") return Parts.bags($("bag-list"), $("bag-text"), message.done, (bag) => { tell(`opening ${bag.name}`, false); say("bag", { key: bag.key, name: bag.name }, true); });
  if (what === "bag") return location.assign(`/afterwards?bag=${message.done}`);
  if (what === "guardrails" || what === "costs") say("rules", {}, true);
  if (!quiet) tell(typeof message.done === "string" ? message.done : "done", false);
}

function tell(text, wrong) { $("answer").textContent = text; $("answer").className = wrong ? "no" : ""; }

async function picture(blob) {
  const kind = await blob.slice(0, 1).text(), data = blob.slice(1, blob.size, "image/jpeg");
  if (kind === "c") { const next = await createImageBitmap(data); if (bitmap) bitmap.close(); bitmap = next; pictureAt = Date.now(); paint(); }
  else { const image = $("goal-picture"); URL.revokeObjectURL(image.src); image.src = URL.createObjectURL(data); image.hidden = false; }
}

// ---------------------------------------------------------------- stop, always
function stop() {
  letGo();
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ do: "stop", id: ++asked }));
  fetch(`/api/stop?page=${page}`, { method: "POST" }).then((r) => r.json())
    .then((a) => tell(a.error || "STOP: " + a.done, Boolean(a.error))).catch(() => tell("STOP could not be delivered: press the robot's own emergency stop", true));
}
$("stop").addEventListener("pointerdown", (e) => { e.preventDefault(); stop(); });
$("stop").addEventListener("click", (e) => { if (e.detail === 0) stop(); });   // from the keyboard
document.addEventListener("keydown", (e) => { if (e.key === "Escape") { e.preventDefault(); stop(); } }, true);

// ---------------------------------------------------------------- what is shown
const lost = () => !lastState || Date.now() - lastState > 3000;

// The next time that the browser draws: a slow one draws less often, and what came meanwhile waits for nothing.
function soon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; if (state) show(); });
}

function show() {
  const { gate, planner, desk, inputs } = state;
  $("robot").textContent = state.body.robot;
  Parts.gate($, state, false);
  $("planner").textContent = Parts.planner(planner, inputs["planner/status"].age);
  $("goal-text").textContent = Parts.goal(planner, state.drawing);
  Parts.legend($("legend"), state.body);
  $("goal-picture").hidden = !$("goal-picture").src || planner.goal !== "image";
  bars(planner);
  const mine = desk.holder === page, holder = desk.pages.find((p) => p.number === desk.holder);
  $("holder").textContent = mine ? "You have the controls." : holder ? `${holder.name} has the controls.` : "Nobody has the controls.";
  $("take").hidden = mine; $("release").hidden = !mine;
  ["enable", "disable", "reset", "pause", "clear", "goal-here", "approve-mode", "click-rule"].forEach((id) => ($(id).disabled = !mine));
  if (![...waiting.values()].some((w) => w.what === "mode")) $("approve-mode").checked = desk.approve;
  $("approval").hidden = !desk.waiting;
  if (desk.waiting) $("approval-text").textContent = `${desk.waiting.about} (asked by ${desk.waiting.who}; ${desk.waiting.seconds.toFixed(0)} s left)`;
  document.querySelectorAll("#pad [data-axis]").forEach((b) => (b.hidden = !state.body.axes.some((a) => a.name === b.dataset.axis)));
  $("drive-help").textContent = state.body.can_drive ? "Hold a button, or the arrow keys while this panel has the focus. Let go, and the robot stands still." : "This robot is not driven by hand from here. An arm needs its node jog.";
  $("pause").setAttribute("aria-pressed", String(planner.reason === "paused"));
  Parts.inputs($("inputs"), inputs);
  unfold(gate);
  list($("log"), desk.log.slice().reverse().map((s) => [`${new Date(1000 * s.when).toLocaleTimeString()} ${s.who}: ${s.what} ${s.about}${s.refused ? " — refused: " + s.refused : ""}`, Boolean(s.refused)]));
  Memory.show(state, Boolean(inputs["planner/memory"]), (goal) => say("goal", goal));
  Draw.curves($("curves"), state.curves, state.time);
  mapped = Draw.map($("map"), state.map, state.drawing, state.areas, Parts.around(state, false, Parts.old($, state, false)));
  $("map").closest("figure").hidden = !mapped;                         // an arm has none
  paint();
}

// A stop opens what explains it: what the gate did, and the inputs if one of them is silent. Who closes a part of it has
// it closed until the robot stops for another reason.
function unfold(gate) {
  const halted = ["STOPPED", "ESTOP"].includes(gate.mode), last = gate.cause;
  if (!halted && !gate.stops) opened = {};
  if (last && last.at !== told) { told = last.at; setTimeout(() => say("interventions", {}, true), 200); }
  const open = (id, why) => { if (opened[id] !== why) { opened[id] = why; $(id).open = true; } };
  if (halted) open("acted", gate.reason);
  if (halted && $("inputs").querySelector(".old")) open("heard", gate.reason);
}

function paint() {
  const drawing = state && state.drawing, frozen = Parts.frozen(pictureAt, state, lost());
  const shown = drawing && drawing.rules ? drawing.rules.map((corners, k) => ({ ...state.areas[k], corners })) : [];
  const around = drawing && drawing.placed ? Parts.around(state, true, $("map").classList.contains("stale")) : null;
  scale = Draw.camera($("camera"), bitmap, drawing, shown, sketch, frozen, around);
  $("frozen").textContent = frozen;
  if (state && lost()) { Parts.gate($, state, true); Parts.old($, state, true); }
}
setInterval(paint, 250);                                               // a picture grows old without any news

function bars(planner) {
  const box = $("terms"), most = Math.max(1e-9, ...Object.values(planner.terms).map(Math.abs)), found = [];
  Object.entries(planner.terms).forEach(([name, value]) => found.push(bar(name, value, most, "")));
  Object.entries(planner.guardrails).forEach(([name, value]) => found.push(bar("rule " + name, value, Math.max(1, value), "rule")));
  box.replaceChildren(...found);
}

function bar(name, value, most, kind) {
  const row = document.createElement("div"), label = document.createElement("span"), body = document.createElement("div"), text = document.createElement("span");
  row.className = "bar " + kind; label.textContent = name; text.textContent = value.toPrecision(3);
  body.style.width = `${Math.min(100, 100 * Math.abs(value) / most)}%`;
  row.append(label, body, text); return row;
}

function rows(body, found) {
  body.replaceChildren(...found.map((cells) => { const tr = document.createElement("tr");
    cells.forEach((c) => { const td = document.createElement("td"); td.textContent = c; tr.append(td); }); return tr; }));
}

function list(ol, found) {
  ol.replaceChildren(...found.map(([text, wrong]) => { const li = document.createElement("li"); li.textContent = text; if (wrong) li.className = "no"; return li; }));
}

function interventions(found) {
  rows($("interventions").tBodies[0], found.interventions.slice(-12).reverse().map((i) => [i.ros < 1e8 ? `${i.ros.toFixed(1)} s` : new Date(1000 * i.ros).toLocaleTimeString(), i.mode, `${i.headline}: ${i.sentence} (${i.reason})`]));
}

// ---------------------------------------------------------------- guardrails
function listRules() {
  $("rule-list").replaceChildren(...rules.map((rule, index) => {
    const li = document.createElement("li"), b = document.createElement("button");
    li.textContent = `${rule.name} (${rule.kind}${rule.max_speed !== undefined ? ", " + rule.max_speed + " m/s" : ""}) `;
    b.type = "button"; b.textContent = "Remove"; b.onclick = () => say("guardrails", { guardrails: rules.filter((_, i) => i !== index) });
    li.append(b); return li; }));
  if (!rules.length) { const li = document.createElement("li"); li.textContent = "None."; $("rule-list").append(li); }
}

const freeName = (base) => { let n = 1; while (rules.some((r) => r.name === `${base}_${n}`)) n++; return `${base}_${n}`; };
const pixel = (e) => { const box = $("camera").getBoundingClientRect(); return [(e.clientX - box.left) / box.width * $("camera").width / scale, (e.clientY - box.top) / box.height * $("camera").height / scale]; };

$("camera").addEventListener("click", (e) => {
  const at = pixel(e);
  if (!drawingRule) return say("goal", { pixel: at });
  const first = sketch[0];
  if (sketch.length > 2 && Math.hypot(first[0] - at[0], first[1] - at[1]) * scale < 14) return finishRule();
  sketch.push(at); paint(); tell(`corner ${sketch.length}; click the first corner again to close`, false);
});
$("map").addEventListener("click", (e) => {
  const canvas = $("map"), box = canvas.getBoundingClientRect(), from = state && state.pose;
  if (!mapped) return tell("there is no map to press: choose a picture or a remembered place", true);
  const [x, y] = mapped((e.clientX - box.left) / box.width * canvas.width, (e.clientY - box.top) / box.height * canvas.height);
  say("goal", { pose: [x, y, from ? Math.atan2(y - from[1], x - from[0]) : 0] });
});
function finishRule() { say("guardrails", { pixels: sketch, name: freeName("drawn") }); sketch = []; press(false); paint(); }
function press(rule) { drawingRule = rule; sketch = []; $("click-goal").setAttribute("aria-pressed", String(!rule)); $("click-rule").setAttribute("aria-pressed", String(rule)); paint();
  if (rule) tell("click the corners of the forbidden area in the picture", false); }
$("click-goal").onclick = () => press(false);
$("click-rule").onclick = () => press(true);
$("limit-form").onsubmit = (e) => { e.preventDefault(); const v = Number($("limit").value); const others = rules.filter((r) => r.name !== "console_speed");
  const far = 1000; say("guardrails", { guardrails: v > 0 ? [...others, { name: "console_speed", kind: "speed_zone", unit: "m/s", box: { center: [0, 0], size: [far, far] }, max_speed: v }] : others }); };
$("costs-form").onsubmit = (e) => { e.preventDefault(); say("costs", { costs: $("costs").value }); };

// ---------------------------------------------------------------- requests
$("take").onclick = () => say("take"); $("release").onclick = () => say("release");
$("enable").onclick = () => say("enable", { on: true }); $("disable").onclick = () => say("enable", { on: false });
$("reset").onclick = () => say("reset"); $("pause").onclick = () => say("pause", { on: $("pause").getAttribute("aria-pressed") !== "true" });
$("clear").onclick = () => say("clear"); $("goal-here").onclick = () => say("goal", { here: true });
$("approve").onclick = () => say("approve"); $("refuse").onclick = () => say("refuse");
$("approve-mode").onchange = (e) => say("mode", { on: e.target.checked });
function futures() { say("futures", { on: $("futures").open }, true); }
$("futures").ontoggle = futures;
function memory() { say("places", { on: $("memory").open }, true); }
$("memory").ontoggle = memory;
$("bags").ontoggle = () => { if ($("bags").open) say("bags", {}, true); };
$("look-bags").onclick = () => say("bags", {}, true);
$("look-interventions").onclick = () => say("interventions", {}, true);
$("remember-form").onsubmit = (e) => { e.preventDefault(); say("remember", { name: $("remember-name").value }); $("remember-name").value = ""; };
$("name-form").onsubmit = (e) => { e.preventDefault(); say("name", { name: $("name").value }); };
$("goal-file").onchange = (e) => { const file = e.target.files[0]; if (!file) return;
  if (file.size > 8e6) return tell("a goal picture may have 8 MB", true);
  const reader = new FileReader(); reader.onload = () => say("goal", { file: reader.result.split(",")[1] || "", name: file.name }); reader.readAsDataURL(file); e.target.value = ""; };

// ---------------------------------------------------------------- hold to drive
function hold(command) { driven = command; word(); }
function letGo() { if (driven === null) return; driven = null; document.querySelectorAll("#pad .held").forEach((b) => b.classList.remove("held")); word(); }
function word() {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  const share = Number($("speed").value) / 100;
  const axes = state ? state.body.axes.map((a) => a.name) : [];
  const arm = axes.includes("linear.z"), along = { "linear.x": driven && driven[0], [arm || axes.includes("linear.y") && !axes.includes("angular.z") ? "linear.y" : "angular.z"]: driven && driven[1], "linear.z": driven && driven[2] };
  const command = driven === null ? null : axes.map((name) => (along[name] || 0) * share);
  socket.send(JSON.stringify({ do: "drive", command }));
}
setInterval(() => { if (driven !== null) word(); if (Date.now() - lastState > 3000 && socket.readyState === WebSocket.OPEN) link("the console is silent", true); }, 90);
document.querySelectorAll("#pad button").forEach((b) => {
  b.addEventListener("pointerdown", (e) => { e.preventDefault(); $("pad").focus(); b.setPointerCapture(e.pointerId); b.classList.add("held"); hold(b.dataset.drive.split(",").map(Number)); });
  ["pointerup", "pointercancel", "lostpointercapture"].forEach((name) => b.addEventListener(name, letGo));
});
const KEYS = { PageUp: "0,0,1", PageDown: "0,0,-1", ArrowUp: "1,0", ArrowDown: "-1,0", ArrowLeft: "0,1", ArrowRight: "0,-1" };
$("pad").addEventListener("keydown", (e) => { const to = KEYS[e.key]; if (!to) return; e.preventDefault(); if (!e.repeat) hold(to.split(",").map(Number)); });
$("pad").addEventListener("keyup", (e) => { if (KEYS[e.key]) letGo(); });
$("pad").addEventListener("blur", letGo);
$("speed").oninput = (e) => ($("speed-text").textContent = `${e.target.value} %`);

function front() { const on = document.visibilityState === "visible" && document.hasFocus(); if (!on) letGo(); if (socket && socket.readyState === WebSocket.OPEN) say("front", { on }, true); }
document.addEventListener("visibilitychange", front); window.addEventListener("blur", front); window.addEventListener("focus", front);
window.addEventListener("pagehide", letGo);
connect();
