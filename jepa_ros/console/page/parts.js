"use strict";
// Parts of the page that only show: what goes on and what to do, how old the picture is, imagined futures, bags, inputs.
const Parts = (() => {
  const element = (kind, text) => { const found = document.createElement(kind); if (text !== undefined) found.textContent = text; return found; };
  const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

  const HALTS = ["STOPPED", "ESTOP"], KINDS = { ACTIVE: "go", LIMITED: "slow", ARMING: "slow", STOPPED: "halt", ESTOP: "halt", DISABLED: "slow" };
  const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "");
  const times = (n) => (n === 1 ? "once" : `${n} times`);

  // What goes on and what to do: the gate's mode, what is the matter, what a person can do, the gate's own figures.
  function gate(at, state, lost) {
    const found = (state && state.gate) || {}, age = state && state.inputs ? state.inputs["safety_gate/state"].age : null, silent = age !== null && age > 1;
    const say = (mode, kind, headline, step, figures, before) => { at("mode").textContent = mode; at("mode").className = kind;
      if (at("headline").textContent !== headline) at("headline").textContent = headline;  // it is read out where it changes
      at("step").textContent = step; at("sentence").textContent = figures; at("cause").textContent = before; };
    if (lost) return say("no line", "halt", "This page has lost the console", "The robot may go on without this page. Use its own emergency stop if you have to.", "What is shown here is old.", "");
    if (age === null) return say("no gate", "halt", "The safety gate is not heard yet", "Does the stack run? The page goes on by itself when it does.", "", "");
    if (silent) return say("gate silent", "halt", "The safety gate is silent", "Keep away from the robot. Look whether the stack still runs.", `It has said nothing for ${age.toFixed(0)} s. Its last word: ${sentence(found.sentence)}`, "");
    const share = found.mode === "LIMITED" ? ` Speed let through: ${Math.round(100 * found.scale)} %.` : "";
    say(found.mode, /^It (stops again and again|has just stopped):/.test(found.headline) ? "slow" : KINDS[found.mode] || "", found.headline, found.step, sentence(found.sentence) + share, before(found, state.time));
  }

  // How often the gate stopped of late and, where it does not stop just now, for what it stopped last.
  function before(found, now) {
    const last = found.cause, often = found.stops > 1 ? `Stopped ${times(found.stops)} in the last minute` : "";
    if (!last || (HALTS.includes(found.mode) && !often)) return "";
    if (HALTS.includes(found.mode)) return `${often}${last.count < found.stops ? `, ${times(last.count)} for this` : ""}.`;
    return now - last.at < 300 ? `${often ? `${often}, last` : "Last stop"} at ${clock(last.at)}: ${found.headline.toLowerCase().endsWith(last.headline.toLowerCase()) ? "" : `${last.headline}. `}${sentence(last.sentence)}` : "";
  }

  // What the planner is about, and the figures of its plan.
  function planner(found, age) {
    if (age === null) return "The planner has said nothing yet.";
    if (age > 2) return `The planner has been silent for ${age.toFixed(0)} s. Before that: ${found.alone}`;
    const facts = [found.elapsed && `Plan made in ${Math.round(1000 * found.elapsed)} ms`, found.iterations && `${found.iterations} rounds of search`,
      found.distance && `${Number(found.distance).toFixed(1)} ${found.unit || "steps"} to go`, found.feasible && (found.feasible === "true" ? "it keeps every guardrail" : "it breaks a guardrail")].filter(Boolean);
    return `${found.says}${facts.length ? ` ${facts.join(", ")}.` : ""}`;
  }

  // Why the picture is not what the camera sees now; empty where it is.
  function frozen(at, state, lost) {
    const age = at ? (Date.now() - at) / 1000 : 0, body = (state && state.body) || { camera_rate: 10 }, late = Math.max(1, 3 / body.camera_rate);
    const heard = Math.min(...[body.camera, `${body.camera}/compressed`].map((topic) => state && state.inputs && state.inputs[topic] && state.inputs[topic].age).filter((a) => typeof a === "number"));
    if (at && age > late) return `FROZEN: ${age.toFixed(1)} s old, ${lost ? "no connection" : heard > late ? "the camera is silent" : "this page is late"}`;
    return state && state.gate && state.gate.reasons.includes("image_frozen") ? "FROZEN: the camera repeats one picture" : "";
  }

  // What is no longer so on the map and the curves; empty words where it is.
  function old(at, state, lost) {
    const { inputs, body, gate } = state, silent = (topic, least) => inputs[topic] && inputs[topic].age > least && !inputs[topic].rests && inputs[topic].age;
    const place = body.pose && silent(body.pose, 1), quiet = silent("signals", 2), planner = state.map && silent("planner/status", 2);
    const why = lost ? "no connection" : "";
    const map = why || (place ? `the robot's place is ${place.toFixed(0)} s old` : gate.reasons.includes("pose_lost") ? "the robot's place is not sure" : planner ? `the planner has been silent for ${planner.toFixed(0)} s` : "");
    const curves = why || (quiet ? `nothing has come for ${quiet.toFixed(0)} s` : "");
    [["map", map], ["curves", curves]].forEach(([name, text]) => { at(name).classList.toggle("stale", Boolean(text)); at(`${name}-old`).textContent = text && `OLD: ${text}.`; });
    at("terms").classList.toggle("stale", Boolean(why || silent("planner/status", 2)));
    return Boolean(map);
  }

  // What is drawn over a picture ("pixels") or the map, as a function of how a place becomes one on the canvas.
  function around(state, pixels, lost) {
    const { pose, drawing, around: near, body } = state, told = pixels ? near.pixels : near, ends = pose && (pixels ? pose.pixels : [pose.at]);
    const goal = drawing.goal && state.planner.goal !== "none" ? (pixels ? drawing.goal_pixel : [drawing.goal]) : [];
    return (place) => {
      const [u, v] = ends && ends.length ? place(ends[0]) : [0, 0];
      const nose = ends && (pixels ? ends[1] && place(ends[1]) : [u + 10 * Math.cos(pose.at[2]), v - 10 * Math.sin(pose.at[2])]);
      const robot = nose && body.pose ? { at: [u, v], nose, radius: Math.max(6, Math.hypot(nose[0] - u, nose[1] - v)) } : null;
      return { robot, lost, goal: goal.map(place), people: (told.people || []).map(place), seen: (told.seen || []).map(place) };
    };
  }

  // The legend has what can be drawn of this robot.
  function legend(list, body) {
    list.querySelectorAll("[data-mark]").forEach((li) => (li.hidden = !(li.dataset.mark === "robot" ? body.pose : body.around.includes(li.dataset.mark))));
  }

  function goal(found, drawing) {
    if (found.refused) return found.refused;
    if (!found.goal || found.goal === "none") return "No goal.";
    const kinds = { image: "a picture", memory: "a remembered place", pose: "a place" }, name = found.goal_name ? ` “${found.goal_name}”` : "";
    const where = drawing.goal ? `, at x ${drawing.goal[0].toFixed(2)} m, y ${drawing.goal[1].toFixed(2)} m (green ring${found.goal === "pose" ? "" : ": where the model places it"})` : "";
    return `Goal: ${kinds[found.goal] || found.goal}${name}${where}.${found.arrived === "true" ? " Arrived." : ""}`;
  }

  // Rows of small pictures; they are changed in place, so that one can be clicked while it is renewed.
  function strips(box, text, found, choose) {
    const rows = found ? found.rows : [];
    box.classList.toggle("past", !rows.length);
    if (!rows.length && box.children.length && found && found.remembered) { text.textContent = "The planner imagines nothing just now. These were its last futures; a click makes one the goal."; return; }
    const alone = found && !found.remembered ? "Nothing is remembered yet: pictures are kept while this is open." : "The planner imagines nothing just now: give it a goal.";
    text.textContent = rows.length ? `Each picture is the remembered one (of ${found.remembered}) that is nearest to an imagined state, from soon to the end of the plan. Faint and dashed: unlike anything remembered. A click makes it the goal.` : alone;
    while (box.children.length > rows.length) box.lastChild.remove();
    rows.forEach((row, k) => {
      if (!box.children[k]) { const strip = element("div"); strip.className = "strip"; strip.append(element("span"), element("div")); box.append(strip); }
      const strip = box.children[k], [label, line] = strip.children;
      strip.classList.toggle("chosen", k === 0 && found.chosen);
      label.textContent = k ? `other ${k}` : found.chosen ? "✔ chosen" : "best, not allowed";
      while (line.children.length > row.length) line.lastChild.remove();
      row.forEach(([number, near], i) => {
        if (!line.children[i]) { const b = element("button"); b.type = "button"; b.append(element("img")); b.onclick = () => choose(Number(b.dataset.number)); line.append(b); }
        const b = line.children[i], src = `/api/remembered/${number}`;
        b.className = near ? "" : "unlike"; b.dataset.number = number;
        b.firstChild.alt = `${label.textContent}, state ${i + 1}${near ? "" : ", unlike anything remembered"}`;
        if (b.firstChild.getAttribute("src") !== src) b.firstChild.src = src;
      });
    });
  }

  function bags(list, text, found, open) {
    list.replaceChildren(...found.bags.map((bag) => {
      const li = element("li"), b = element("button", `Open ${bag.name}`);
      b.type = "button"; b.onclick = () => open(bag);
      li.append(b, ` ${new Date(1000 * bag.when).toLocaleString()}, ${bag.mb} MB${bag.grows ? ", still being recorded" : ""}`);
      return li; }));
    text.textContent = found.bags.length ? `Bags under ${found.folder}, the newest first.` : `There is no bag under ${found.folder}; jepa-ros record makes one.`;
  }

  // Topics with rate and age; of one that is silent for how long, of one that never came why.
  function inputs(body, found) {
    body.replaceChildren(...Object.entries(found).map(([topic, a]) => {
      const tr = element("tr"), never = a.age === null, dead = !never && a.age > 2 && !a.latched && !a.rests;
      if (never || dead) tr.className = "old";
      const rate = element("td", never ? `never came: ${a.never}` : dead ? `silent for ${a.age.toFixed(0)} s` : a.latched ? "when it changes" : a.rests ? "while it plans" : a.rate.toFixed(1));
      tr.append(element("td", topic), rate);
      if (never || dead) rate.colSpan = 2; else tr.append(element("td", a.age.toFixed(1)));
      return tr; }));
  }

  return { gate, planner, goal, old, around, legend, frozen, strips, bags, inputs };
})();
