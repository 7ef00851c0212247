"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const sources = ["roofline", "fitted", "measured"];
  const svgNS = "http://www.w3.org/2000/svg";
  const el = (name, attrs, ...children) => {
    const e = document.createElementNS(svgNS, name);
    for (const k in attrs) e.setAttribute(k, attrs[k]);
    e.append(...children);
    return e;
  };
  const cut = (s, n) => (s.length <= n ? s : s.slice(0, (n - 1) >> 1) + "…" + s.slice(s.length - (n >> 1)));
  const digits = (x) => (x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0));
  const time = (us) => {
    if (us === 0) return "0";
    let f = us * 1000;
    for (const u of ["ns", "us", "ms"]) {
      if (f < 999.5) return digits(f) + " " + u;
      f /= 1000;
    }
    return digits(f) + " s";
  };
  const bytes = (n) => {
    if (n < 1000) return n + " B";
    let f = n / 1024;
    for (const u of ["KiB", "MiB", "GiB"]) {
      if (f < 999.5) return digits(f) + " " + u;
      f /= 1024;
    }
    return digits(f) + " TiB";
  };
  const activate = (e, f) => {
    e.addEventListener("click", f);
    e.addEventListener("keydown", (ev) => {
      if (ev.key === "Enter" || ev.key === " ") {
        ev.preventDefault();
        f();
      }
    });
  };

  // ---- Sorting of tables that are on the page in full.
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    table.querySelectorAll("th").forEach((th, column) => {
      const button = th.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const numeric = th.classList.contains("n");
        const down = th.getAttribute("aria-sort") ? th.getAttribute("aria-sort") === "ascending" : numeric;
        for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => {
          const cell = row.cells[column];
          return numeric ? Number(cell.dataset.v ?? cell.textContent) : cell.textContent;
        };
        const rows = [...body.rows].map((r) => [key(r), r]);
        rows.sort((a, b) => (down ? -1 : 1) * (numeric ? a[0] - b[0] : compare(a[0], b[0])));
        body.append(...rows.map((r) => r[1]));
      });
    });
  }

  // ---- Table of nodes: sorted and filtered here, a page at a time.
  const pageRows = 100;
  const table = document.getElementById("ops-table");
  const total = data.us.reduce((a, b) => a + b, 0);
  const keys = {
    name: (i) => data.names[i],
    op: (i) => data.ops[data.op[i]],
    sub: (i) => data.subs[data.sub[i]].id,
    us: (i) => data.us[i],
    source: (i) => sources[data.source[i]],
  };
  let order = [...data.us.keys()], sortKey = "us", descending = true, shown = pageRows, filter = "";
  const fill = () => {
    const list = filter
      ? order.filter((i) => (data.names[i] + " " + keys.op(i) + " " + keys.sub(i)).toLowerCase().includes(filter))
      : order;
    const rows = list.slice(0, shown).map((i) => {
      const tr = document.createElement("tr");
      const cell = (text, n) => {
        const td = document.createElement("td");
        td.textContent = text;
        if (n) td.className = "n";
        tr.append(td);
      };
      cell(data.names[i] + (data.replica[i] ? " (replica)" : ""));
      cell(keys.op(i));
      cell(keys.sub(i));
      cell(time(data.us[i]), true);
      cell(total ? ((100 * data.us[i]) / total).toFixed(2) + "%" : "", true);
      cell(keys.source(i));
      return tr;
    });
    table.tBodies[0].replaceChildren(...rows);
    document.getElementById("ops-count").textContent = `${rows.length} of ${list.length} nodes`;
    document.getElementById("ops-more").hidden = list.length <= shown;
  };
  const sort = () => {
    const key = keys[sortKey];
    const cmp = sortKey === "us" ? (a, b) => key(a) - key(b) : (a, b) => compare(key(a), key(b));
    order.sort((a, b) => (descending ? -1 : 1) * cmp(a, b) || a - b);
    fill();
  };
  for (const th of table.querySelectorAll("th")) {
    th.querySelector("button").addEventListener("click", () => {
      const again = th.hasAttribute("aria-sort");
      sortKey = th.dataset.k;
      descending = again ? !descending : sortKey === "us";
      for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", descending ? "descending" : "ascending");
      shown = pageRows;
      sort();
    });
  }
  document.getElementById("ops-filter").addEventListener("input", (ev) => {
    filter = ev.target.value.trim().toLowerCase();
    shown = pageRows;
    fill();
  });
  document.getElementById("ops-more").addEventListener("click", () => {
    shown += 5 * pageRows;
    fill();
  });
  sort();

  // ---- Graph of one sub-model, folded by name.
  const prepared = new Map();
  // prepare gives every group its range of boxes; a leaf is a node's number.
  const prepare = (k) => {
    if (prepared.has(k)) return prepared.get(k);
    const groups = [];
    const build = (t, parent) => {
      if (typeof t === "number") return { node: t, first: t, count: 1, us: data.us[data.subs[k].first + t], parent };
      const g = { label: t[0], parts: [], first: Infinity, count: 0, us: 0, parent, open: false };
      groups.push(g);
      for (const p of t.slice(1)) {
        const c = build(p, g);
        g.parts.push(c);
        g.first = Math.min(g.first, c.first);
        g.count += c.count;
        g.us += c.us;
      }
      return g;
    };
    const root = build(data.subs[k].tree, null);
    root.open = true;
    // Show something to begin with: unfold the largest groups while there is room.
    let boxes = root.parts ? root.parts.length : 1;
    const closed = root.parts ? root.parts.filter((p) => p.parts) : [];
    for (;;) {
      closed.sort((a, b) => b.count - a.count || a.first - b.first);
      const g = closed[0];
      if (!g || (boxes > 1 && boxes - 1 + g.parts.length > 20)) break;
      closed.shift();
      g.open = true;
      boxes += g.parts.length - 1;
      closed.push(...g.parts.filter((p) => p.parts));
    }
    const state = { root, groups };
    prepared.set(k, state);
    return state;
  };

  const boxW = 164, boxH = 38, gapX = 22, gapY = 34, maxBoxes = 400;
  let current = -1;
  const draw = (k, focus) => {
    current = k;
    for (const b of document.querySelectorAll(".picker button")) b.setAttribute("aria-selected", String(Number(b.dataset.sub) === k));
    const sub = data.subs[k];
    const state = prepare(k);
    const boxes = [];
    const where = new Int32Array(sub.count);
    const collect = (g) => {
      for (const p of g.parts) {
        if (p.parts && p.open) collect(p);
        else boxes.push(p);
      }
    };
    if (state.root.parts) collect(state.root);
    boxes.sort((a, b) => a.first - b.first);
    const mark = (p, i) => {
      if (p.parts) p.parts.forEach((c) => mark(c, i));
      else where[p.node] = i;
    };
    boxes.forEach((p, i) => mark(p, i));
    const flows = new Map();
    for (const [from, to, n] of sub.edges) {
      const a = where[from], b = where[to];
      if (a === b) continue;
      const id = a * boxes.length + b;
      const f = flows.get(id);
      if (f) {
        f.n += n;
        f.count++;
      } else flows.set(id, { a, b, n, count: 1 });
    }
    // Layers: behind all earlier boxes that feed it. Folding can close circles; an
    // edge against the order of the boxes is drawn backwards and counts for nothing.
    const layer = new Int32Array(boxes.length);
    const ins = boxes.map(() => []);
    for (const f of flows.values()) if (f.a < f.b) ins[f.b].push(f.a);
    boxes.forEach((_, i) => {
      for (const a of ins[i]) layer[i] = Math.max(layer[i], layer[a] + 1);
    });
    // Places in a layer: near the mean of what feeds a box.
    const rows = [];
    boxes.forEach((_, i) => (rows[layer[i]] ??= []).push(i));
    const x = new Float64Array(boxes.length);
    let width = 0;
    rows.forEach((row) => {
      const want = new Map(row.map((i) => [i, ins[i].length ? ins[i].reduce((s, a) => s + x[a], 0) / ins[i].length : 0]));
      row.sort((a, b) => want.get(a) - want.get(b) || a - b);
      let at = -Infinity;
      for (const i of row) {
        x[i] = Math.max(want.get(i), at);
        at = x[i] + boxW + gapX;
      }
      // Centre the row on what it wants.
      const shift = row.reduce((s, i) => s + want.get(i) - x[i], 0) / row.length;
      for (const i of row) x[i] += shift;
    });
    let left = Infinity;
    for (const v of x) left = Math.min(left, v);
    boxes.forEach((_, i) => {
      x[i] += 10 - left;
      width = Math.max(width, x[i] + boxW + 10);
    });
    const y = (i) => 10 + layer[i] * (boxH + gapY);
    const height = 20 + rows.length * (boxH + gapY) - gapY;

    const svg = document.getElementById("ops-graph");
    svg.replaceChildren();
    svg.setAttribute("width", width);
    svg.setAttribute("height", Math.max(height, 20));
    svg.setAttribute("class", "p" + sub.color);
    const few = boxes.length <= maxBoxes;
    for (const f of flows.values()) {
      const x1 = x[f.a] + boxW / 2, y1 = y(f.a) + boxH, x2 = x[f.b] + boxW / 2, y2 = y(f.b);
      const back = f.a > f.b;
      const bend = back ? 60 : Math.max(20, (y2 - y1) / 2);
      // What passes boxes goes around them: to the left, or to the right.
      const around = !back && layer[f.b] > layer[f.a] + 1 && Math.abs(x1 - x2) < boxW ? (f.a % 2 ? 1 : -1) * boxW * 0.8 : 0;
      const path = el("path", {
        class: back ? "flow back" : "flow", "stroke-width": (0.8 + 0.5 * Math.max(0, Math.log10(f.n + 1) - 3)).toFixed(1),
        d: `M${x1.toFixed(1)} ${y1} C${(x1 + around).toFixed(1)} ${y1 + bend} ${(x2 + around).toFixed(1)} ${y2 - bend} ${x2.toFixed(1)} ${y2}`,
      });
      const title = el("title", {});
      title.textContent = `${f.count} edge${f.count > 1 ? "s" : ""}, ${bytes(f.n)}`;
      path.append(title);
      svg.append(path);
    }
    let focused = null;
    boxes.forEach((p, i) => {
      const g = el("g", { class: p.parts ? "op group" : "op", transform: `translate(${x[i].toFixed(1)} ${y(i)})` });
      const title = el("title", {}), name = el("text", { x: boxW / 2, y: 16 }), text = el("text", { class: "t", x: boxW / 2, y: 30 });
      if (p.parts) {
        title.textContent = `${p.label}\n${p.count} nodes, ${time(p.us)}`;
        name.textContent = "▸ " + p.label.split(" … ").map((part, _, all) => cut(part, all.length > 1 ? 9 : 22)).join(" … ");
        text.textContent = `${p.count} nodes · ${time(p.us)}`;
        g.setAttribute("tabindex", "0");
        g.setAttribute("role", "button");
        g.setAttribute("aria-expanded", "false");
        activate(g, () => {
          p.open = true;
          draw(k, p.parts[0]);
        });
      } else {
        const n = sub.first + p.node;
        title.textContent = `${data.names[n]}\n${keys.op(n)}, ${time(p.us)}, ${keys.source(n)}`;
        const last = data.names[n].split("/").pop();
        name.textContent = cut(last || data.names[n], 25);
        text.textContent = `${cut(keys.op(n), 24 - time(p.us).length)} · ${time(p.us)}`;
        if (data.replica[n]) g.classList.add("replica");
      }
      g.append(title, el("rect", { width: boxW, height: boxH, rx: 5 }), name, text);
      if (p === focus) focused = g;
      svg.append(g);
    });
    const crumbs = state.groups.filter((g) => g.open && g !== state.root).map((g) => {
      const b = document.createElement("button");
      b.textContent = "▾ " + cut(g.label, 40);
      b.title = "Fold";
      b.addEventListener("click", () => {
        const close = (q) => {
          q.open = false;
          q.parts.forEach((c) => c.parts && close(c));
        };
        close(g);
        draw(k, g);
      });
      return b;
    });
    document.getElementById("crumbs").replaceChildren(...crumbs);
    document.getElementById("inside-text").textContent =
      `${sub.id} on ${sub.processor}: ${sub.count} node${sub.count === 1 ? "" : "s"} in ${boxes.length} box${boxes.length === 1 ? "" : "es"}` + (few ? "" : "; fold groups to see more at once");
    if (focused && focused.hasAttribute("tabindex")) focused.focus();
  };
  for (const b of document.querySelectorAll(".picker button")) b.addEventListener("click", () => draw(Number(b.dataset.sub)));
  for (const box of document.querySelectorAll("#quotient [data-sub]")) {
    activate(box, () => {
      draw(Number(box.dataset.sub));
      document.getElementById("inside").scrollIntoView({ behavior: "smooth" });
    });
  }
  if (data.subs.length) {
    let most = 0;
    data.subs.forEach((s, i) => {
      if (s.count > data.subs[most].count) most = i;
    });
    draw(most);
  }
  document.documentElement.dataset.ready = "1";
})();
