"use strict";
// What the planner remembers, to choose a goal in: a drawing of the places, and their pictures a page at a time.
const Memory = (() => {
  const $ = (id) => document.getElementById(id);
  const WIDE = 400, EDGE = 22, OFF = 6, STAR = 15, NEAR = 24, CARDS = 12, SURE = 0.5;
  let places = null, kept = "", tags = [], cards = [], from = 0, choose = () => {}, nodes = new Map(), current = null;

  const svg = (kind, of) => { const found = document.createElementNS("http://www.w3.org/2000/svg", kind); put(found, of || {}); return found; };
  const put = (what, of) => Object.entries(of).forEach(([name, value]) => what.setAttribute(name, value));
  // When that was, for a label: the time of day, of what is older than 20 hours the day.
  function clock(milliseconds) {
    const at = new Date(milliseconds);
    return Date.now() - at < 72e6 ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : at.toLocaleDateString();
  }
  const count = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;

  // state: what the page was told last. wish: called with a goal, {tag} or {place, key}.
  function show(state, heard, wish) {
    choose = wish;
    const { folder, tags: named } = state.memory, has = Boolean(heard && folder), found = has ? state.places || null : null, names = has ? Object.keys(named).sort() : [];
    const now = JSON.stringify([heard, folder, named, found === null]);
    if (found !== places || now !== kept) {
      places = found; kept = now;
      listed(names, named);
      $("memory-text").textContent = says(heard, folder, names);
      draw();
    }
    mark(state.planner);
  }

  // A sentence on what is remembered, and on where the robot believes it is.
  function says(heard, folder, names) {
    if (!heard) return "The planner has not said yet what it remembers.";
    if (!folder) return "This planner has no memory. Started with memory:=FOLDER it remembers places, which can be goals.";
    if (!places) return names.length ? "A press on a place makes it the goal." : "The planner has not said yet what it remembers.";
    const shown = places.places.length, what = places.kind === "states" ? "view" : "place";
    if (!shown && !names.length) return places.total ? `${count(places.total, what)} remembered, but this robot does not know where that was. Give places a name to go there again.` : "Nothing is remembered yet. Drive the robot about, or give this place a name.";
    const some = !shown ? "" : shown < places.total ? ` ${shown} of ${count(places.total, what)} are shown, those that lie apart.` : ` ${count(shown, what)}.`;
    const where = !shown ? "" : !places.here ? " The robot does not know yet where it is among them." : places.sure < SURE ? " The robot is not sure where it is among them." : "";
    return `A press on a place makes it the goal.${some}${places.whole ? "" : " More are being read."}${where}`;
  }

  // ---------------------------------------------------------------- the pictures
  function listed(names, named) {
    const keys = new Map((places ? places.tags : []).map(([name, key]) => [name, key])), pictured = new Set(places ? places.pictures : []);
    const seen = (at) => (at === null ? "" : clock(1000 * at));
    tags = names.map((name) => ({ name, title: name, more: clock(Date.parse(named[name].split(" ")[0])), key: keys.get(name), goal: { tag: name } }));
    const rest = (places ? places.places : []).map(([number, key, , , , at]) => ({ name: `place ${number}`, title: `place ${number}`, more: seen(at), key, goal: { place: number, key } }));
    cards = tags.concat(rest.reverse());
    cards.forEach((card) => { card.picture = pictured.has(card.key) ? `/api/places/${card.key}` : ""; });
    from = Math.min(from, Math.max(0, Math.ceil(cards.length / CARDS) - 1) * CARDS);
    paged();
  }

  function paged() {
    const shown = cards.slice(from, from + CARDS), box = $("cards");
    while (box.children.length > shown.length) box.lastChild.remove();
    shown.forEach((card, k) => {
      if (!box.children[k]) {
        const b = document.createElement("button"); b.type = "button"; b.append(document.createElement("img"), document.createElement("span"), document.createElement("small"));
        b.onclick = () => choose(cards[Number(b.dataset.at)].goal); b.onfocus = b.onmouseenter = () => point(cards[Number(b.dataset.at)].key); b.onblur = b.onmouseleave = () => point(null);
        box.append(b);
      }
      const b = box.children[k], [image, title, more] = b.children;
      b.dataset.at = from + k; b.dataset.name = card.name; b.setAttribute("aria-label", `Go to ${card.title}${card.more ? ", " + card.more : ""}`);
      b.classList.toggle("named", "tag" in card.goal); title.textContent = card.title; more.textContent = card.more;
      image.alt = ""; image.hidden = !card.picture;
      if (card.picture && image.getAttribute("src") !== card.picture) image.src = card.picture;
    });
    const pages = Math.ceil(cards.length / CARDS);
    $("cards-pages").hidden = pages < 2;
    $("cards-where").textContent = `${from / CARDS + 1} of ${pages}`;
    $("cards-back").disabled = !from; $("cards-on").disabled = from + CARDS >= cards.length;
  }

  // What is the goal now, in the drawing, among the pictures and beside the camera's.
  function mark(planner) {
    const name = planner.goal === "memory" ? planner.goal_name : null, goal = cards.find((card) => card.name === name), picture = $("goal-remembered");
    [...$("cards").children].forEach((b) => { if (b.dataset.name === name) b.setAttribute("aria-current", "true"); else b.removeAttribute("aria-current"); });
    nodes.forEach((node) => node.classList.toggle("goal", node.dataset.name === name));
    picture.hidden = !(goal && goal.picture);
    if (goal && goal.picture && picture.getAttribute("src") !== goal.picture) picture.src = goal.picture;
  }

  // ---------------------------------------------------------------- the drawing
  function draw() {
    const graph = $("graph"), known = places ? places.places.map((p) => [p[2], p[3]]) : [], stars = places ? places.tags.filter((t) => t[2] !== null) : [];
    const all = known.concat(stars.map((t) => [t[2], t[3]]), places && places.here ? [places.here] : [], places && places.goal ? [places.goal] : []);
    $("graph-figure").hidden = !known.length && !stars.length;
    if ($("graph-figure").hidden) { nodes.forEach((node) => node.remove()); nodes.clear(); return; }
    const edge = (k, pick) => pick(...all.map((p) => p[k])), [left, right, low, high] = [edge(0, Math.min), edge(0, Math.max), edge(1, Math.min), edge(1, Math.max)];
    const span = Math.max(right - left, (high - low) / 0.8, 0.5), scale = (WIDE - 2 * EDGE) / span, tall = Math.max(120, (high - low) * scale + 2 * EDGE);
    const at = ([x, y]) => [WIDE / 2 + (x - (left + right) / 2) * scale, tall / 2 - (y - (low + high) / 2) * scale], text = (points) => points.map((p) => at(p).map((v) => v.toFixed(1)).join(",")).join(" ");
    graph.setAttribute("viewBox", `0 0 ${WIDE} ${tall.toFixed(0)}`);
    $("graph-ways").replaceChildren(...places.ways.map(([a, b, driven]) => svg("polyline", { points: text([known[a], known[b]]), class: driven ? "" : "closed" })));
    $("graph-way").setAttribute("points", text(places.way.concat(places.goal && places.way.length ? [places.goal] : [])));
    const wanted = new Map(), spots = places.places.map(([number, key, x, y, yaw, when]) => { const [u, v] = at([x, y]); return { id: `place ${number}`, title: `place ${number}${when === null ? "" : ", seen " + clock(1000 * when)}`, key, u: u + OFF * Math.cos(yaw), v: v - OFF * Math.sin(yaw), tip: [u, v], goal: { place: number, key } }; });
    stars.forEach(([name, key, x, y]) => { const [u, v] = at([x, y]); spots.push({ id: name, title: name, key, u, v: v - STAR, star: true, goal: { tag: name } }); });
    spots.forEach((spot) => wanted.set((spot.star ? "tag " : "") + spot.id, spot));
    nodes.forEach((node, id) => { if (!wanted.has(id)) { node.remove(); nodes.delete(id); } });
    wanted.forEach((spot, id) => {
      const node = nodes.get(id) || made(id, spot);
      node.spot = spot; node.dataset.name = spot.id; node.setAttribute("aria-label", `Go to ${spot.title}`); node.setAttribute("transform", `translate(${spot.u.toFixed(1)} ${spot.v.toFixed(1)})`);
      if (!spot.star) put(node.firstChild, { x1: (spot.tip[0] - spot.u).toFixed(1), y1: (spot.tip[1] - spot.v).toFixed(1), x2: 0, y2: 0 });
    });
    if (!nodes.has(current)) current = nodes.keys().next().value;
    nodes.forEach((node, id) => node.setAttribute("tabindex", id === current ? 0 : -1));
    spot($("graph-here"), places.here, at, places.here ? ` rotate(${(-180 / Math.PI * places.here[2]).toFixed(0)})` : "");
    $("graph-here").classList.toggle("unsure", places.sure < SURE);
    spot($("graph-goal"), places.goal, at, "");
  }

  function spot(what, where, at, turned) {
    what.toggleAttribute("hidden", !where);
    if (where) what.setAttribute("transform", `translate(${at(where).map((v) => v.toFixed(1)).join(" ")})${turned}`);
  }

  function made(id, spot) {
    const node = svg("g", { class: "node", role: "button", tabindex: -1 });
    if (spot.star) { const star = svg("text", { class: "star", "text-anchor": "middle", y: 6 }), name = svg("text", { class: "name", x: 9, y: 4 }); star.textContent = "★"; name.textContent = spot.id; node.append(star, name); }
    else node.append(svg("line"), svg("circle", { r: 4.5 }));
    node.onmouseenter = node.onfocus = () => point(node.spot.key, node.spot.title);
    node.onmouseleave = node.onblur = () => point(null);
    node.addEventListener("focus", () => { nodes.forEach((other, key) => other.setAttribute("tabindex", key === id ? 0 : -1)); current = id; });
    nodes.set(id, node); $("graph-nodes").append(node);
    return node;
  }

  // The place that is looked at, before it is chosen: its node, its picture and its name.
  function point(key, title) {
    nodes.forEach((node) => node.classList.toggle("looked", key !== null && node.spot.key === key));
    const picture = $("graph-picture"), has = places && key !== null && places.pictures.includes(key);
    if (key !== null && title === undefined) return;                   // its picture is in front of who points at it
    picture.hidden = !has; if (has) picture.src = `/api/places/${key}`;
    $("graph-name").textContent = title || "Point at a place to see what it looked like.";
  }

  const nearest = (of) => { let best = null, least = Infinity; nodes.forEach((node) => { const away = of(node.spot); if (away < least) { least = away; best = node; } }); return best; };

  document.addEventListener("DOMContentLoaded", () => {
    const graph = $("graph");
    graph.addEventListener("click", (e) => {
      const box = graph.getBoundingClientRect(), scale = WIDE / box.width, u = (e.clientX - box.left) * scale, v = (e.clientY - box.top) * scale;
      const node = nearest((s) => { const away = Math.hypot(s.u - u, s.v - v); return away < NEAR * scale ? away : Infinity; });
      if (node) { node.focus(); choose(node.spot.goal); }
    });
    graph.addEventListener("keydown", (e) => {
      const here = nodes.get(current), to = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[e.key];
      if (!here || !(to || e.key === "Enter" || e.key === " ")) return;
      e.preventDefault();
      if (!to) { if (!e.repeat) choose(here.spot.goal); return; }
      const next = nearest((s) => { const u = s.u - here.spot.u, v = s.v - here.spot.v, along = u * to[0] + v * to[1], aside = Math.abs(u * to[1]) + Math.abs(v * to[0]); return along > 0.5 ? along + 2 * aside : Infinity; });
      if (next) next.focus();
    });
    $("cards-back").onclick = () => { from -= CARDS; paged(); };
    $("cards-on").onclick = () => { from += CARDS; paged(); };
  });

  return { show };
})();
