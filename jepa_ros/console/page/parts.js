"use strict";
// Parts of the page that only show: why the gate stopped last, how old the picture is, imagined futures, bags, inputs.
const Parts = (() => {
  const element = (kind, text) => { const found = document.createElement(kind); if (text !== undefined) found.textContent = text; return found; };
  const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

  // The gate's word of why it stopped last, for when it is about to go on and says no more than that.
  function cause(box, gate, silent, now) {
    const last = gate.cause, shown = last && !silent && !["STOPPED", "ESTOP", "DISABLED"].includes(gate.mode) && now - last.at < 300;
    box.hidden = !shown;
    if (shown) box.textContent = `Last stop, ${clock(last.at)}: ${last.reason}, ${last.sentence}`;
  }

  // Why the picture is not what the camera sees now; empty where it is.
  function frozen(at, state, lost) {
    const age = at ? (Date.now() - at) / 1000 : 0, body = (state && state.body) || { camera_rate: 10 }, late = Math.max(1, 3 / body.camera_rate);
    const heard = Math.min(...[body.camera, `${body.camera}/compressed`].map((topic) => state && state.inputs && state.inputs[topic] && state.inputs[topic].age).filter((a) => typeof a === "number"));
    if (at && age > late) return `FROZEN: ${age.toFixed(1)} s old, ${lost ? "no connection" : heard > late ? "the camera is silent" : "this page is late"}`;
    return state && state.gate && state.gate.reasons.includes("image_frozen") ? "FROZEN: the camera repeats one picture" : "";
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

  // Topics with rate and age; one that never came says why.
  function inputs(body, found) {
    body.replaceChildren(...Object.entries(found).map(([topic, a]) => {
      const tr = element("tr"), name = element("td", topic), never = a.age === null;
      if (!never && a.age > 2 && !a.latched) tr.className = "old";
      if (never) { const why = element("div", a.never); why.className = "hint"; name.append(why); }
      tr.append(name, element("td", never ? "-" : a.rate.toFixed(1)), element("td", never ? "never" : a.age.toFixed(1)));
      return tr; }));
  }

  return { cause, frozen, strips, bags, inputs };
})();
