"use strict";
// What is drawn: the camera's picture with plans and guardrails, the map, the curves. Nothing here talks to the robot.
const Draw = (() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function line(g, points, scale, colour, width, dash) {
    if (points.length < 2) return;
    g.beginPath();
    points.forEach(([u, v], i) => (i ? g.lineTo(u * scale, v * scale) : g.moveTo(u * scale, v * scale)));
    g.strokeStyle = colour; g.lineWidth = width; g.setLineDash(dash || []); g.stroke(); g.setLineDash([]);
  }

  // A forbidden area is filled, another guardrail is an outline; both have their name.
  function area(g, { name, kind, corners }, scale) {
    if (corners.length < 2) return;
    g.beginPath();
    corners.forEach(([u, v], i) => (i ? g.lineTo(u * scale, v * scale) : g.moveTo(u * scale, v * scale)));
    g.closePath(); g.strokeStyle = "#e69f00"; g.lineWidth = 2;
    if (kind === "keep_out") { g.fillStyle = "#e69f0055"; g.fill(); } else g.setLineDash([8, 5]);
    g.stroke(); g.setLineDash([]);
    name_of(g, name, corners.map((c) => [c[0] * scale, c[1] * scale]));
  }

  function written(g, text, u, v, colour) { g.lineWidth = 3; g.strokeStyle = "#000"; g.strokeText(text, u, v); g.fillStyle = colour; g.fillText(text, u, v); }

  // A name at the top of its area: word by word below each other where that fits, else across it, and never over the edge.
  function name_of(g, name, corners) {
    const [left, top] = [0, 1].map((k) => Math.min(...corners.map((c) => c[k]))), wide = Math.max(...corners.map((c) => c[0])) - left;
    const widest = (lines) => Math.max(...lines.map((text) => g.measureText(text).width));
    for (const [lines, size] of [[[name], 13], [name.split(" "), 13], [name.split(" "), 11], [[name], 11]]) {
      g.font = `bold ${size}px sans-serif`;
      const fits = widest(lines) <= wide - 8, last = lines.length === 1 && size === 11;
      if (!fits && !last) continue;
      const over = Math.max(0, Math.min(g.canvas.width - 4 - widest(lines), left + 4)), low = Math.max(size + 3, Math.min(g.canvas.height - 4 - size * (lines.length - 1), top + size + 3));
      return lines.forEach((text, k) => written(g, text, over, low + k * (size + 1), "#ffd27f"));
    }
  }

  // The goal, people, what the scanner sees, and the robot; a robot whose place is lost is an empty outline.
  function marks(g, found) {
    found.seen.forEach(([u, v]) => { g.fillStyle = "#fff"; g.fillRect(u - 3.5, v - 3.5, 7, 7); g.fillStyle = "#7b3294"; g.fillRect(u - 2.5, v - 2.5, 5, 5); });
    const ring = (u, v, radius, colour) => { g.beginPath(); g.arc(u, v, radius, 0, 7); g.strokeStyle = "#fff"; g.lineWidth = 5; g.stroke(); g.strokeStyle = colour; g.lineWidth = 2.5; g.stroke(); };
    found.goal.forEach(([u, v]) => { ring(u, v, 9, "#00614a"); ring(u, v, 2, "#00614a"); });
    found.people.forEach(([u, v]) => { g.beginPath(); g.arc(u, v, 8, 0, 7); g.fillStyle = "#f0e442"; g.fill(); g.strokeStyle = "#000"; g.lineWidth = 2; g.stroke();
      g.font = "bold 12px sans-serif"; written(g, "person", u + 11, v + 4, "#f0e442"); });
    if (!found.robot) return;
    const { at: [u, v], nose, radius } = found.robot;
    g.setLineDash(found.lost ? [4, 4] : []);
    g.beginPath(); g.arc(u, v, radius, 0, 7); g.moveTo(u, v); g.lineTo(...nose);
    g.strokeStyle = "#fff"; g.lineWidth = 5; g.stroke(); g.strokeStyle = found.lost ? "#555" : "#d55e00"; g.lineWidth = 2.5; g.stroke(); g.setLineDash([]);
  }

  function camera(canvas, bitmap, drawing, areas, sketch, frozen, around) {
    if (bitmap && (canvas.width !== 512 || canvas.height !== Math.round(512 * bitmap.height / bitmap.width))) {
      canvas.width = 512; canvas.height = Math.round(512 * bitmap.height / bitmap.width);
    }
    const g = canvas.getContext("2d");
    g.imageSmoothingEnabled = false;
    g.fillStyle = "#000"; g.fillRect(0, 0, canvas.width, canvas.height);
    if (bitmap) g.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    else { g.fillStyle = "#fff"; g.font = "18px sans-serif"; g.fillText("no camera picture", 20, 40); }
    const scale = drawing && drawing.size ? canvas.width / drawing.size[0] : canvas.width / (bitmap ? bitmap.width : 512);
    const lines = (drawing && drawing.pixels) || [];
    lines.slice(1).forEach((points) => line(g, points, scale, "#56b4e9aa", 1.5));
    if (lines[0]) { line(g, lines[0], scale, "#ffffff", 6); line(g, lines[0], scale, "#0072b2", 3); }
    areas.forEach((one) => area(g, one, scale));
    if (around) marks(g, around(([u, v]) => [u * scale, v * scale]));
    if (sketch.length) {
      line(g, sketch, scale, "#e69f00", 2, [6, 4]);
      sketch.forEach(([u, v]) => { g.fillStyle = "#e69f00"; g.fillRect(u * scale - 4, v * scale - 4, 8, 8); });
    }
    if (frozen) {
      g.fillStyle = "#000000aa"; g.fillRect(0, 0, canvas.width, canvas.height);
      g.font = "bold 26px sans-serif"; g.textAlign = "center"; g.fillStyle = "#ffffff";
      frozen.split(/[:,] /).forEach((part, i) => g.fillText(part, canvas.width / 2, canvas.height / 2 - 16 + 34 * i)); g.textAlign = "start";
    }
    return scale;
  }

  // Where the robot can drive; where nobody knows that, the places that are known on an empty sheet. It gives what tells
  // the place x, y [m] of a pixel of the canvas; null where there is no map.
  function map(canvas, grid, drawing, areas, around) {
    const same = around((p) => p), here = same.robot ? [same.robot.at] : [];
    const g = canvas.getContext("2d"), known = areas.flatMap((one) => one.corners).concat(drawing.plan || [], here, same.goal, same.people);
    g.clearRect(0, 0, canvas.width, canvas.height);
    if (!grid && !known.length) return null;
    const edge = (k, pick) => pick(...known.map((p) => p[k])), across = grid ? grid.resolution * grid.width : 1.2 * Math.max(2, edge(0, Math.max) - edge(0, Math.min), edge(1, Math.max) - edge(1, Math.min));
    const origin = grid ? grid.origin : [0, 1].map((k) => (edge(k, Math.min) + edge(k, Math.max) - across) / 2), metre = canvas.width / across;
    if (grid) sheet(g, canvas, grid); else { g.fillStyle = "#f5f5f5"; g.fillRect(0, 0, canvas.width, canvas.height); }
    const place = ([x, y]) => [(x - origin[0]) * metre, canvas.height - (y - origin[1]) * metre];
    areas.forEach((one) => area(g, { ...one, corners: one.corners.map(place) }, 1));
    if (drawing.plan && drawing.plan.length) line(g, drawing.plan.map(place), 1, "#0072b2", 3);
    marks(g, around(place));
    return (u, v) => [u / metre + origin[0], (canvas.height - v) / metre + origin[1]];
  }

  function sheet(g, canvas, grid) {
    const picture = g.createImageData(grid.width, grid.height);
    for (let row = 0; row < grid.height; row++) for (let column = 0; column < grid.width; column++) {
      const value = grid.data[(grid.height - 1 - row) * grid.width + column], at = 4 * (row * grid.width + column);
      const shade = value < 0 ? 128 : 245 - 2 * value;
      picture.data[at] = picture.data[at + 1] = picture.data[at + 2] = shade; picture.data[at + 3] = 255;
    }
    const small = document.createElement("canvas");
    small.width = grid.width; small.height = grid.height; small.getContext("2d").putImageData(picture, 0, 0);
    g.imageSmoothingEnabled = false; g.drawImage(small, 0, 0, canvas.width, canvas.height);
  }

  // States that a deliberation tried: light from the start, dark near the goal; the chosen way; the goal as a ring.
  function tree(canvas, found) {
    const g = canvas.getContext("2d"), w = canvas.width, h = canvas.height, edge = 14;
    const all = found.nodes.map((n) => [n[3], n[4]]).concat([found.goal]), xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const scale = Math.min((w - 2 * edge) / Math.max(right - left, 1e-6), (h - 2 * edge) / Math.max(high - low, 1e-6));
    const place = (n) => [edge + (n[0] - left) * scale, h - edge - (n[1] - low) * scale], at = (k) => place([found.nodes[k][3], found.nodes[k][4]]);
    g.clearRect(0, 0, w, h);
    found.nodes.forEach((n, k) => { if (n[0] >= 0) line(g, [at(n[0]), at(k)], 1, css("--line"), 1); });
    const far = Math.max(1e-6, ...found.nodes.map((n) => n[2]));
    found.nodes.forEach((n, k) => { const [u, v] = at(k); g.globalAlpha = 0.25 + 0.75 * (1 - n[2] / far); g.fillStyle = css("--blue"); g.fillRect(u - 1.5, v - 1.5, 3, 3); });
    g.globalAlpha = 1;
    line(g, found.way.map(at), 1, css("--orange"), 3);
    const [u, v] = place(found.goal);
    g.beginPath(); g.arc(u, v, 7, 0, 7); g.strokeStyle = css("--good"); g.lineWidth = 3; g.stroke();
  }

  // The last minute, to the present on the right; a line ends where nothing was said.
  function curves(canvas, points, now) {
    const g = canvas.getContext("2d"), w = canvas.width, h = canvas.height, foot = 16, top = 3, span = 60;
    g.clearRect(0, 0, w, h);
    const y = (value) => (h - foot) * (1 - Math.min(value, top) / top * 0.96), x = (at) => (1 - (now - at) / span) * w;
    g.font = "11px sans-serif"; g.lineWidth = 1;
    for (let ago = 0; ago <= span; ago += 10) { g.strokeStyle = css("--line"); g.beginPath(); g.moveTo(x(now - ago), h - foot); g.lineTo(x(now - ago), h - foot + 4); g.stroke();
      const text = ago ? `${ago} s ago` : "now", wide = g.measureText(text).width;
      if (ago % 20 === 0) { g.fillStyle = css("--muted"); g.fillText(text, Math.min(w - wide - 2, Math.max(2, x(now - ago) - wide / 2)), h - 2); } }
    [0, 1, 2].forEach((level) => { g.strokeStyle = css("--line"); g.beginPath(); g.moveTo(0, y(level)); g.lineTo(w, y(level)); g.stroke();
      if (level) { g.fillStyle = css("--muted"); g.fillText(level === 1 ? "1 slows" : "2 stops", 4, y(level) - 3); } });
    [["surprise", css("--orange"), []], ["novelty", css("--blue"), [6, 4]]].forEach(([name, colour, dash]) => {
      g.strokeStyle = colour; g.lineWidth = 2; g.setLineDash(dash); g.beginPath();
      let before = -1e9;
      points.forEach((point) => { if (point[name] === undefined) return;
        point.at - before > 2 ? g.moveTo(x(point.at), y(point[name])) : g.lineTo(x(point.at), y(point[name])); before = point.at; });
      g.stroke(); g.setLineDash([]);
    });
  }

  // The gate's mode as a strip (colour, height and a letter), goals as flags, cost, surprise and novelty as curves.
  function timeline(canvas, bag, step) {
    if (canvas.clientWidth && canvas.width !== canvas.clientWidth) canvas.width = canvas.clientWidth;
    const g = canvas.getContext("2d"), w = canvas.width, h = canvas.height, strip = 34, x = (at) => at / Math.max(bag.seconds, 1e-6) * w;
    const kinds = { ACTIVE: ["#009e73", 10], LIMITED: ["#e69f00", 18], ARMING: ["#56b4e9", 14], DISABLED: ["#999999", 14], STOPPED: ["#d55e00", 26], ESTOP: ["#b3261e", 30] };
    g.clearRect(0, 0, w, h);
    bag.gate.forEach((part) => {
      const [colour, high] = kinds[part.mode] || ["#999999", 10], left = x(part.begin), wide = Math.max(1, x(part.end) - left);
      g.fillStyle = colour; g.fillRect(left, strip - high, wide, high);
      g.font = "13px sans-serif";
      const text = part.mode === "ACTIVE" ? "ACTIVE" : `${part.mode} ${part.reason}`;
      if (g.measureText(text).width + 8 < wide) { g.fillStyle = css("--ink"); g.fillText(text, left + 4, strip + 14); }
    });
    const top = strip + 22, tall = h - top - 4;
    const curve = (name, most, colour, dash) => {
      g.strokeStyle = colour; g.lineWidth = 2; g.setLineDash(dash); g.beginPath();
      let drawn = false;
      bag.steps.forEach((s) => { if (s[name] === undefined) { drawn = false; return; }
        const y = top + tall * (1 - Math.min(1, Math.max(0, s[name] / most))); drawn ? g.lineTo(x(s.at), y) : g.moveTo(x(s.at), y); drawn = true; });
      g.stroke(); g.setLineDash([]);
    };
    [1, 2].forEach((level) => { const y = top + tall * (1 - level / 3); g.strokeStyle = css("--line"); g.lineWidth = 1; g.beginPath(); g.moveTo(0, y); g.lineTo(w, y); g.stroke(); });
    curve("cost", Math.max(1e-9, ...bag.steps.map((s) => s.cost || 0)), css("--muted"), [2, 3]);
    curve("surprise", 3, css("--orange"), []); curve("novelty", 3, css("--blue"), [6, 4]);
    bag.goals.forEach((goal) => { g.strokeStyle = css("--ink"); g.lineWidth = 1; g.beginPath(); g.moveTo(x(goal.at), strip); g.lineTo(x(goal.at), h); g.stroke();
      g.fillStyle = css("--ink"); g.font = "13px sans-serif"; g.fillText(`⚑ ${goal.name || goal.kind}`, x(goal.at) + 3, h - 6); });
    g.fillStyle = css("--red"); g.fillRect(x(bag.steps[step].at) - 1.5, 0, 3, h);
  }

  return { camera, map, curves, tree, timeline };
})();
