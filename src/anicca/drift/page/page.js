"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");

  const sizeText = (bytes) => {
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (bytes < 1000) return (unit === "B" ? bytes : bytes.toFixed(1)) + " " + unit;
      bytes /= 1000;
    }
    return bytes.toFixed(1) + " TB";
  };
  const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  // The table: sorting and filtering move and hide rows that are there already.
  const table = document.querySelector("table.findings");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const find = byId("find");
  const only = byId("only");
  const shown = byId("shown");

  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.dataset.text;
      const fits = words.every((word) => text.includes(word)) && (!only.value || row.dataset.class === only.value);
      row.hidden = !fits;
      row.style.display = fits ? "" : "none";
      count += fits;
    }
    shown.textContent = count === rows.length ? plural(count, "finding") : `${count} of ${plural(rows.length, "finding")}`;
  };

  const sort = (header) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = header.dataset.key;
    const numeric = key === "size" || key === "when" || key === "rank";
    const value = (row) => (numeric ? Number(row.dataset[key]) : row.dataset[key]);
    const sorted = rows.slice().sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      const order = one < other ? -1 : one > other ? 1 : Number(a.dataset.at) - Number(b.dataset.at);
      return up ? order : -order;
    });
    table.tBodies[0].append(...sorted);
  };

  if (table) {
    for (const header of table.querySelectorAll("th[data-key]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      button.addEventListener("click", () => sort(header));
      header.replaceChildren(button);
    }
    find.addEventListener("input", filter);
    only.addEventListener("change", filter);
    filter();
  }

  // The treemap: a directory's children as areas (squarified: Bruls, Huizing, van Wijk 2000).
  const tree = byId("tree");
  const top = { name: "/", children: new Map(), up: null };
  for (const [path, size, kind, number] of data.leaves) {
    let at = top;
    const names = path.split("/").filter(Boolean);
    for (const name of names) {
      if (!at.children.has(name)) at.children.set(name, { name, children: new Map(), up: at });
      at = at.children.get(name);
    }
    at.size = (at.size || 0) + size;
    at.number = (at.number || 0) + number;
    at.kind = kind;
    at.path = path;
  }
  const sum = (node) => {
    node.total = { size: node.size || 0, number: node.number || 0 };
    node.kinds = new Map(node.kind === undefined ? [] : [[node.kind, 1]]);
    for (const child of node.children.values()) {
      sum(child);
      node.total.size += child.total.size;
      node.total.number += child.total.number;
      for (const [kind, number] of child.kinds) node.kinds.set(kind, (node.kinds.get(kind) || 0) + number);
    }
    // The most serious colours it: what is suspicious must not drown.
    node.shade = Math.min(...node.kinds.keys());
  };
  sum(top);

  let weigh = data.leaves.some(([, size]) => size > 0) ? "size" : "number";
  let current = top;

  const squarify = (items, box) => {
    const placed = [];
    let { x, y, w, h } = box;
    let rest = items.reduce((all, item) => all + item.weight, 0);
    let at = 0;
    while (at < items.length && w > 0 && h > 0) {
      const side = Math.min(w, h);
      const scale = (w * h) / rest;
      let end = at;
      let area = 0;
      let worst = Infinity;
      while (end < items.length) {
        const next = area + items[end].weight * scale;
        const depth = next / side;
        let bad = 0;
        for (let i = at; i <= end; i++) {
          const length = (items[i].weight * scale) / depth;
          bad = Math.max(bad, depth / length, length / depth);
        }
        if (bad > worst) break;
        worst = bad;
        area = next;
        end++;
      }
      const depth = area / side;
      let along = 0;
      for (let i = at; i < end; i++) {
        const length = (items[i].weight * scale) / depth;
        const spot = w >= h ? { x, y: y + along, w: depth, h: length } : { x: x + along, y, w: length, h: depth };
        placed.push([items[i], spot]);
        rest -= items[i].weight;
        along += length;
      }
      if (w >= h) { x += depth; w -= depth; } else { y += depth; h -= depth; }
      at = end;
    }
    return placed;
  };

  const weighed = (node, most) => {
    const items = [...node.children.values()].map((child) => ({ node: child, weight: child.total[weigh] }));
    const all = items.reduce((sum_, item) => sum_ + item.weight, 0);
    // What is empty is there too: nothing may be too small to be seen, or chosen by keyboard.
    for (const item of items) item.weight = Math.max(item.weight, all / 250, 1e-9);
    items.sort((a, b) => b.weight - a.weight);
    return items.slice(0, most);
  };
  const place = (element, spot, gap) => {
    Object.assign(element.style, {
      left: `${spot.x}px`, top: `${spot.y}px`,
      width: `${Math.max(spot.w - gap, 1)}px`, height: `${Math.max(spot.h - gap, 1)}px`,
    });
  };
  const colour = (node) => `var(--${data.colours[node.shade]})`;

  // What lies deeper shows as areas in the tile, some levels down: as ornament, it cannot be chosen there.
  const inside = (tile, node, box, levels) => {
    if (box.w < 26 || box.h < 26) return;
    for (const [item, spot] of squarify(weighed(node, 40), box)) {
      const cell = document.createElement("i");
      cell.style.setProperty("--c", colour(item.node));
      place(cell, spot, 0);
      tile.append(cell);
      if (levels > 1 && item.node.children.size > 0 && tile.childElementCount < 600)
        inside(tile, item.node, spot, levels - 1);
    }
  };

  const draw = (focus) => {
    const box = { x: 0, y: 0, w: tree.clientWidth, h: tree.clientHeight };
    tree.replaceChildren();
    for (const [item, spot] of squarify(weighed(current, 150), box)) {
      const node = item.node;
      const tile = document.createElement("button");
      tile.type = "button";
      const opens = node.children.size > 0;
      const what = `${sizeText(node.total.size)}, ${plural(node.total.number, "path")}`;
      tile.setAttribute("aria-label", `${node.name}${opens ? "/" : ""}: ${what}, ${data.classes[node.shade]}`);
      tile.title = `${node.name}${opens ? "/" : ""}  ${what}`;
      tile.style.setProperty("--c", colour(node));
      place(tile, spot, 2);
      if (opens) inside(tile, node, { x: 0, y: 0, w: spot.w - 2, h: spot.h - 2 }, 3);
      if (spot.w > 46 && spot.h > 26) {
        const label = document.createElement("span");
        label.className = "name";
        const name = document.createElement("b");
        name.textContent = node.name + (opens ? "/" : "");
        const size = document.createElement("small");
        size.textContent = weigh === "size" ? sizeText(node.total.size) : plural(node.total.number, "path");
        label.append(name, size);
        tile.append(label);
      }
      tile.addEventListener("click", () => (opens ? enter(node, true) : point(node)));
      tree.append(tile);
    }
    if (focus && tree.firstChild) tree.firstChild.focus();
    crumbs();
  };
  const crumbs = () => {
    const way = [];
    for (let node = current; node; node = node.up) way.unshift(node);
    byId("crumbs").replaceChildren(...way.map((node) => {
      const crumb = document.createElement("button");
      crumb.type = "button";
      crumb.textContent = node === top ? "/" : node.name + "/";
      if (node === current) crumb.setAttribute("aria-current", "true");
      crumb.addEventListener("click", () => enter(node, true));
      return crumb;
    }));
  };
  const enter = (node, focus) => {
    current = node;
    draw(focus);
  };
  const point = (node) => {
    find.value = node.path;
    only.value = "";
    filter();
    const row = rows.find((one) => one.dataset.path === node.path);
    if (row) {
      for (const other of rows) other.classList.remove("found");
      row.classList.add("found");
      byId("findings").scrollIntoView();
      find.focus();
    }
  };
  tree.addEventListener("keydown", (event) => {
    if (event.key === "Backspace" && current.up) {
      event.preventDefault();
      enter(current.up, true);
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const tiles = [...tree.children];
      const next = tiles[tiles.indexOf(document.activeElement) + step];
      if (next) next.focus();
    }
  });
  const press = () => {
    for (const button of document.querySelectorAll("[data-weigh]"))
      button.setAttribute("aria-pressed", String(button.dataset.weigh === weigh));
  };
  for (const button of document.querySelectorAll("[data-weigh]"))
    button.addEventListener("click", () => {
      weigh = button.dataset.weigh;
      press();
      draw(false);
    });
  if (data.leaves.length) {
    byId("map").hidden = false;
    press();
    draw(false);
    let width = tree.clientWidth;
    new ResizeObserver(() => {
      if (tree.clientWidth === width) return;
      width = tree.clientWidth;
      draw(false);
    }).observe(tree);
  }
})();
