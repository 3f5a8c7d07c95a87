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
    const u = Math.max(4, Math.min(...corners.map((c) => c[0])) * scale + 4), v = Math.max(16, Math.min(...corners.map((c) => c[1])) * scale + 16);
    g.font = "bold 13px sans-serif"; g.lineWidth = 3; g.strokeStyle = "#000"; g.strokeText(name, u, v); g.fillStyle = "#ffd27f"; g.fillText(name, u, v);
  }

  function camera(canvas, bitmap, drawing, areas, sketch, frozen) {
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

  // Where the robot can drive; where nobody knows that, the places that are known on an empty sheet.
  function map(canvas, grid, drawing, areas) {
    const g = canvas.getContext("2d"), known = areas.flatMap((one) => one.corners).concat(drawing.plan || [], drawing.pose ? [drawing.pose] : []);
    g.clearRect(0, 0, canvas.width, canvas.height);
    if (!grid && !known.length) { g.fillStyle = css("--muted"); g.font = "14px sans-serif"; g.fillText("no map", 10, 24); return; }
    const edge = (k, pick) => pick(...known.map((p) => p[k])), across = grid ? grid.resolution * grid.width : 1.2 * Math.max(2, edge(0, Math.max) - edge(0, Math.min), edge(1, Math.max) - edge(1, Math.min));
    const origin = grid ? grid.origin : [0, 1].map((k) => (edge(k, Math.min) + edge(k, Math.max) - across) / 2), metre = canvas.width / across;
    if (grid) sheet(g, canvas, grid); else { g.fillStyle = "#f5f5f5"; g.fillRect(0, 0, canvas.width, canvas.height); }
    const place = ([x, y]) => [(x - origin[0]) * metre, canvas.height - (y - origin[1]) * metre];
    areas.forEach((one) => area(g, { ...one, corners: one.corners.map(place) }, 1));
    if (drawing.plan && drawing.plan.length) line(g, drawing.plan.map(place), 1, "#0072b2", 3);
    if (drawing.pose) {
      const [x, y, yaw] = drawing.pose, [u, v] = place([x, y]);
      g.save(); g.translate(u, v); g.rotate(-yaw); g.fillStyle = "#d55e00"; g.beginPath();
      g.moveTo(10, 0); g.lineTo(-7, 6); g.lineTo(-7, -6); g.fill(); g.restore();
    }
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

  function curves(canvas, points) {
    const g = canvas.getContext("2d"), w = canvas.width, h = canvas.height, top = 3;
    g.clearRect(0, 0, w, h);
    const y = (value) => h - Math.min(value, top) / top * (h - 4) - 2;
    [1, 2].forEach((level) => { g.strokeStyle = css("--line"); g.beginPath(); g.moveTo(0, y(level)); g.lineTo(w, y(level)); g.stroke();
      g.fillStyle = css("--muted"); g.font = "11px sans-serif"; g.fillText(level === 1 ? "1 slows" : "2 stops", 4, y(level) - 3); });
    [["surprise", css("--orange"), []], ["novelty", css("--blue"), [6, 4]]].forEach(([name, colour, dash]) => {
      g.strokeStyle = colour; g.lineWidth = 2; g.setLineDash(dash); g.beginPath();
      points.forEach((point, i) => { if (point[name] === undefined) return; const x = i / Math.max(1, points.length - 1) * w; i ? g.lineTo(x, y(point[name])) : g.moveTo(x, y(point[name])); });
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
