"use strict";
// A recorded bag: its timeline, one moment of it, and the same moment thought over again. It commands nothing, but where
// it was opened from the page of a running robot it may stop that robot.
const $ = (id) => document.getElementById(id);
const MODES = { ACTIVE: "go", LIMITED: "slow", ARMING: "slow", STOPPED: "halt", ESTOP: "halt", DISABLED: "slow" };
const LIVE = new URLSearchParams(location.search).get("bag"), PLACE = LIVE ? `/api/bags/${encodeURIComponent(LIVE)}` : "/api/bag";
let bag = null, step = 0, moment = null, unchanged = null, changed = null, bitmap = null, clicked = null, scale = 1, asked = 0, timer = null;

async function get(path, body) {
  const answer = await fetch(path, body ? { method: "POST", body: JSON.stringify(body) } : {});
  let found = {};
  try { found = await answer.json(); } catch (error) { found = { error: `the console answered with ${answer.status}` }; }
  if (found.error) throw new Error(found.error);
  return found;
}
function tell(text, wrong) { $("answer").textContent = text; $("answer").className = wrong ? "no" : ""; }

// ---------------------------------------------------------------- a robot that runs meanwhile
function stop() {
  fetch("/api/stop", { method: "POST" }).then((r) => r.json())
    .then((a) => tell(a.error || "STOP: " + a.done, Boolean(a.error))).catch(() => tell("STOP could not be delivered: press the robot's own emergency stop", true));
}
$("stop").hidden = $("live").hidden = !LIVE;
$("stop").addEventListener("pointerdown", (e) => { e.preventDefault(); stop(); });
$("stop").addEventListener("click", (e) => { if (e.detail === 0) stop(); });   // from the keyboard
document.addEventListener("keydown", (e) => { if (LIVE && e.key === "Escape") { e.preventDefault(); stop(); } }, true);

// ---------------------------------------------------------------- a moment
function go(to) {
  step = Math.max(0, Math.min(bag.steps.length - 1, to));
  $("step").value = step;
  $("at").textContent = `step ${step}, ${bag.steps[step].at.toFixed(2)} s, ${bag.steps[step].reason}`;
  Draw.timeline($("timeline"), bag, step);
  clearTimeout(timer); timer = setTimeout(look, 120);       // a slider that is being moved asks for nothing
}

async function look() {
  const mine = ++asked, wanted = step;
  try {
    const [found, blob] = await Promise.all([get(`${PLACE}/${wanted}`), fetch(`${PLACE}/${wanted}/picture`).then((r) => r.blob())]);
    const next = await createImageBitmap(blob);
    if (mine !== asked) return;
    if (bitmap) bitmap.close();
    [moment, bitmap, unchanged, changed, clicked] = [found, next, null, null, null];
    $("clicked").textContent = "nothing yet"; tell("", false); show();
    const again = await get(`${PLACE}/${wanted}/again`);
    if (mine === asked) { unchanged = again; show(); }
  } catch (error) { if (mine === asked) tell(error.message, true); }
}

function show() {
  const { gate, recorded } = moment;
  $("mode").textContent = gate.mode || "no gate"; $("mode").className = MODES[gate.mode] || "";
  $("reason").textContent = gate.reason || ""; $("sentence").textContent = gate.sentence || "The gate said nothing at this moment.";
  Draw.camera($("then"), bitmap, recorded.drawing, [], [], "");
  const other = changed || unchanged;
  scale = Draw.camera($("again"), bitmap, other && other.drawing, [], clicked ? [clicked] : [], "");
  $("then-text").textContent = `${recorded.reason}: ${recorded.sentence}. Goal: ${moment.goal || "none"}.`;
  if (other) $("again-text").textContent = `${changed ? "Changed" : "Unchanged"}: ${other.reason}: ${other.sentence}. Took ${other.took.toFixed(2)} s.`;
  bars($("then-terms"), recorded); bars($("again-terms"), other || { terms: {}, rules: {} });
  compare();
}

function bars(box, thought) {
  const most = Math.max(1e-9, ...[moment.recorded, unchanged, changed].filter(Boolean).flatMap((t) => Object.values(t.terms).map(Math.abs)));
  const found = Object.entries(thought.terms).map(([name, value]) => bar(name, value, most, ""));
  Object.entries(thought.rules).forEach(([name, value]) => found.push(bar(`rule ${name}`, value, Math.max(1, value), value > 0 ? "rule" : "kept")));
  box.replaceChildren(...found);
}

function bar(name, value, most, kind) {
  const row = document.createElement("div"), label = document.createElement("span"), body = document.createElement("div"), text = document.createElement("span");
  row.className = `bar ${kind}`; label.textContent = name; text.textContent = value.toPrecision(3);
  body.style.width = `${Math.min(100, 100 * Math.max(0, kind ? value : Math.abs(value)) / most)}%`;
  row.append(label, body, text); return row;
}

function compare() {
  const all = [moment.recorded, unchanged, changed], number = (v) => (v === null || v === undefined ? "-" : Number(v).toPrecision(4));
  const rows = [["decision", (t) => t.reason], ["command", (t) => (t.command ? t.command.map((v) => v.toFixed(3)).join(", ") : "-")], ["cost", (t) => number(t.cost)],
    ["to the goal", (t) => number(t.distance)], ["iterations", (t) => t.iterations ?? "-"], ["candidates tried", (t) => t.evaluated ?? "-"], ["seed", (t) => t.seed ?? "-"]];
  $("compare").tBodies[0].replaceChildren(...rows.map(([name, of]) => {
    const tr = document.createElement("tr"), th = document.createElement("th"); th.scope = "row"; th.textContent = name; tr.append(th);
    all.forEach((t) => { const td = document.createElement("td"); td.textContent = t ? of(t) : "-"; tr.append(td); });
    return tr; }));
}

// ---------------------------------------------------------------- thinking again
async function file() {
  const chosen = $("goal-file").files[0];
  if (!chosen) throw new Error("choose a picture first");
  if (chosen.size > 8e6) throw new Error("a goal picture may have 8 MB");
  const text = await new Promise((done, failed) => { const r = new FileReader(); r.onload = () => done(r.result); r.onerror = () => failed(r.error); r.readAsDataURL(chosen); });
  return { file: text.split(",")[1] || "", name: chosen.name };
}

async function goal() {
  const kind = document.querySelector("input[name=goal]:checked").value;
  if (kind === "pixel") { if (!clicked) throw new Error("click into the right picture first"); return { pixel: clicked }; }
  if (kind === "pose") return { pose: ["pose-x", "pose-y", "pose-yaw"].map((id) => Number($(id).value)) };
  if (kind === "step") return { step: Number($("goal-step").value) };
  if (kind === "tag") return { tag: $("goal-tag").value };
  return kind === "file" ? file() : {};
}

async function wishes() {
  const whole = (id) => ($(id).value === "" ? null : Number($(id).value));
  return { goal: await goal(), guardrails: $("guardrails").value, model: $("model").value.trim(), iterations: whole("iterations"), samples: whole("samples"), seed: whole("seed") };
}

function listCases() { $("cases").textContent = bag.cases.length ? `Saved: ${bag.cases.join(", ")}.` : ""; }

$("case-form").onsubmit = async (e) => {
  e.preventDefault();
  if (!moment) return;
  try {
    const found = await get(`${PLACE}/${moment.step}/case`, { ...(await wishes()), case: $("case-name").value });
    bag.cases = found.cases; $("case-name").value = ""; listCases(); tell(found.saved, false);
  } catch (error) { tell(error.message, true); }
};

$("change-form").onsubmit = async (e) => {
  e.preventDefault();
  if (!moment) return;
  const mine = asked;
  try {
    tell("thinking", false);
    const found = await get(`${PLACE}/${moment.step}/rethink`, await wishes());
    if (mine !== asked) return;                              // another moment was chosen meanwhile
    changed = found; tell("", false); show();
  } catch (error) { tell(error.message, true); }
};
$("change-form").onreset = () => { clicked = null; changed = null; $("clicked").textContent = "nothing yet"; if (moment) show(); };
$("again").addEventListener("click", (e) => {
  if (!moment) return;
  if (!bag.placed) return tell("this camera has no fixed place in the map, so a click has none: give a pose or a picture", true);
  const box = $("again").getBoundingClientRect();
  clicked = [(e.clientX - box.left) / box.width * $("again").width / scale, (e.clientY - box.top) / box.height * $("again").height / scale];
  $("clicked").textContent = clicked.map((v) => v.toFixed(0)).join(", ");
  document.querySelector("input[name=goal][value=pixel]").checked = true;
  $("change-form").requestSubmit();
});

// ---------------------------------------------------------------- going about
const nearest = (at) => bag.steps.reduce((best, s, i) => (Math.abs(s.at - at) < Math.abs(bag.steps[best].at - at) ? i : best), 0);
$("step").oninput = (e) => go(Number(e.target.value));
$("back").onclick = () => go(step - 1); $("on").onclick = () => go(step + 1);
$("timeline").onclick = (e) => { const box = $("timeline").getBoundingClientRect(); go(nearest((e.clientX - box.left) / box.width * bag.seconds)); };
function after(found, what) { const next = found.find((i) => i > step); if (next === undefined) tell(`no ${what} after this moment`, false); else go(next); }
$("next-act").onclick = () => after(bag.gate.filter((g) => g.mode !== "ACTIVE").map((g) => nearest(g.begin)), "act of the gate");
$("next-goal").onclick = () => after(bag.goals.map((g) => g.step), "goal");

get(PLACE).then((found) => {
  bag = found;
  $("robot").textContent = bag.robot; $("bag").textContent = `${bag.bag.split("/").filter(Boolean).pop()}, ${bag.seconds.toFixed(0)} s`;
  $("step").max = $("goal-step").max = bag.steps.length - 1;
  $("tag-row").hidden = !bag.tags.length;
  $("goal-tag").replaceChildren(...bag.tags.map((name) => new Option(name, name)));
  listCases();
  $("notes").replaceChildren(...(bag.notes.length ? bag.notes : ["Nothing is missing, and what runs here is what was recorded."]).map((text) => { const li = document.createElement("li"); li.textContent = text; return li; }));
  const first = bag.steps.findIndex((s) => s.reason === "ok");
  go(first < 0 ? 0 : first);
}).catch((error) => ($("sentence").textContent = error.message));
