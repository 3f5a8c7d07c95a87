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

  function polygon(g, points, scale, colour) {
    if (points.length < 2) return;
    g.beginPath();
    points.forEach(([u, v], i) => (i ? g.lineTo(u * scale, v * scale) : g.moveTo(u * scale, v * scale)));
    g.closePath(); g.fillStyle = colour + "44"; g.fill(); g.strokeStyle = colour; g.lineWidth = 2; g.stroke();
  }

  function camera(canvas, bitmap, drawing, rules, sketch) {
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
    rules.forEach((points) => polygon(g, points, scale, "#e69f00"));
    if (sketch.length) {
      line(g, sketch, scale, "#e69f00", 2, [6, 4]);
      sketch.forEach(([u, v]) => { g.fillStyle = "#e69f00"; g.fillRect(u * scale - 4, v * scale - 4, 8, 8); });
    }
    return scale;
  }

  function map(canvas, grid, drawing, polygons) {
    const g = canvas.getContext("2d");
    g.clearRect(0, 0, canvas.width, canvas.height);
    if (!grid) { g.fillStyle = css("--muted"); g.font = "14px sans-serif"; g.fillText("no map", 10, 24); return; }
    const picture = g.createImageData(grid.width, grid.height);
    for (let row = 0; row < grid.height; row++) for (let column = 0; column < grid.width; column++) {
      const value = grid.data[(grid.height - 1 - row) * grid.width + column], at = 4 * (row * grid.width + column);
      const shade = value < 0 ? 128 : 245 - 2 * value;
      picture.data[at] = picture.data[at + 1] = picture.data[at + 2] = shade; picture.data[at + 3] = 255;
    }
    const sheet = document.createElement("canvas");
    sheet.width = grid.width; sheet.height = grid.height; sheet.getContext("2d").putImageData(picture, 0, 0);
    g.imageSmoothingEnabled = false; g.drawImage(sheet, 0, 0, canvas.width, canvas.height);
    const cell = canvas.width / grid.width;
    const place = ([x, y]) => [(x - grid.origin[0]) / grid.resolution * cell,
      canvas.height - (y - grid.origin[1]) / grid.resolution * cell];
    polygons.forEach((points) => polygon(g, points.map(place), 1, "#e69f00"));
    if (drawing.plan && drawing.plan.length) line(g, drawing.plan.map(place), 1, "#0072b2", 3);
    if (drawing.pose) {
      const [x, y, yaw] = drawing.pose, [u, v] = place([x, y]);
      g.save(); g.translate(u, v); g.rotate(-yaw); g.fillStyle = "#d55e00"; g.beginPath();
      g.moveTo(10, 0); g.lineTo(-7, 6); g.lineTo(-7, -6); g.fill(); g.restore();
    }
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
