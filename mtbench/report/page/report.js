"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const root = document.documentElement;

  // -- the theme: the system's, unless the reader chooses

  const theme = one("#theme");
  const remember = (value) => { try { localStorage.setItem("mtbench-theme", value); } catch { /* no storage */ } };
  const storedTheme = () => { try { return localStorage.getItem("mtbench-theme") || ""; } catch { return ""; } };
  const wear = (value) => {
    if (value) root.dataset.theme = value; else delete root.dataset.theme;
    drawAll();
  };
  const probe = document.body.appendChild(document.createElement("span"));
  probe.hidden = true;
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };

  // -- charts

  const charts = JSON.parse(one("#charts").textContent);
  const figures = all(".chart");
  let printing = false;
  const small = matchMedia("(max-width: 40rem)");
  const broken = (name) => name.replace(/(?<=\S)\[/g, "<br>[").replace(/(?<=\[.*),/g, ",<br>");

  function axis(options) {
    return {
      gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("strong-line"),
      tickfont: { size: 12 }, ...options, title: { font: { size: 13 }, standoff: 10, ...options.title },
    };
  }

  function styled(drawing) {
    const series = [1, 2, 3, 4, 5, 6, 7].map((n) => colour(`series-${n}`));
    const layout = {
      font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink"), size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: series,
      margin: { l: 16, r: 24, t: 24, b: 16 }, bargap: 0.3,
      hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("strong-line"), font: { color: colour("ink") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0, font: { size: 12 } },
      ...drawing.layout, xaxis: axis(drawing.layout.xaxis || {}), yaxis: axis(drawing.layout.yaxis || {}),
    };
    if (printing) layout.width = 660;
    const heat = drawing.data.find((trace) => trace.type === "heatmap");
    if (heat && small.matches && !printing) {
      // Long names take two lines, and the numbers in the cells replace the colour bar.
      const ticks = (names) => ({ tickmode: "array", tickvals: names, ticktext: names.map(broken) });
      Object.assign(layout.yaxis, ticks(heat.y), { tickfont: { size: 11 } });
      Object.assign(layout.xaxis, ticks(heat.x), { tickfont: { size: 11 }, tickangle: heat.x.length > 2 ? -60 : 0 });
    }
    const data = drawing.data.map((trace) => {
      if (trace.type === "heatmap") {
        const scale = trace.zmin < 0
          ? [[0, colour("negative")], [0.5, colour("middle")], [1, colour("positive")]]
          : [[0, colour("middle")], [1, colour("positive")]];
        return { ...trace, colorscale: scale, showscale: !small.matches || printing };
      }
      if (trace.type === "box") {
        return { ...trace, fillcolor: colour("wash"), line: { ...trace.line, color: series[0] }, marker: { ...trace.marker, color: series[0] } };
      }
      if (trace.type === "bar" || trace.mode === "markers+text") {
        return { ...trace, marker: { ...trace.marker, color: trace.showlegend ? series[6] : series[0] } };
      }
      return trace;
    });
    return [data, layout];
  }

  function draw(figure) {
    const plot = one(".plot", figure);
    const choice = one("select", figure);
    const drawing = charts[figure.dataset.chart].drawings[choice ? Number(choice.value) : 0];
    const [data, layout] = styled(drawing);
    Plotly.react(plot, data, layout, {
      displaylogo: false, responsive: !printing,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], displayModeBar: "hover",
    });
    figure.dataset.drawn = drawing.name || "yes";
  }

  const drawAll = () => { if (window.Plotly) figures.forEach(draw); };
  figures.forEach((figure) => one("select", figure)?.addEventListener("change", () => draw(figure)));

  theme.value = storedTheme();
  theme.addEventListener("change", () => { remember(theme.value); wear(theme.value); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  small.addEventListener("change", drawAll);
  wear(theme.value);
  addEventListener("beforeprint", () => { printing = true; wear("light"); });
  addEventListener("afterprint", () => { printing = false; wear(theme.value); });

  // -- the table: sorting

  const status = one("#said");
  const nameOf = (row) => row.cells[0].textContent;

  function sort(table, heading) {
    const heads = [...table.tHead.rows[0].cells];
    const better = one("button", heading).dataset.better;
    const bestFirst = better === "up" ? "descending" : "ascending";
    const worstFirst = better === "up" ? "ascending" : "descending";
    const now = heading.getAttribute("aria-sort");
    const next = now === "none" ? bestFirst : now === bestFirst ? worstFirst : "none";
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", next);
    const body = one("tbody.translators", table);
    if (!body) return;
    const rows = [...body.rows];
    rows.forEach((row, place) => { row.dataset.place ??= place; });
    const value = (row) => {
      const text = row.cells[heading.cellIndex].dataset.value;
      return text === undefined ? null : Number(text);
    };
    const sign = next === "descending" ? -1 : 1;
    rows.sort((a, b) => {
      if (next === "none") return a.dataset.place - b.dataset.place;
      if (better === "name") return sign * nameOf(a).localeCompare(nameOf(b));
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (x - y);
    });
    body.append(...rows);
    status.textContent = next === "none" ? "In the original order." : `Sorted by ${one("button", heading).textContent}, ${next}.`;
  }

  all(".scores thead button").forEach((button) => {
    const heading = button.parentElement;
    button.addEventListener("click", () => sort(heading.closest("table"), heading));
  });

  // -- the table: filters

  const filters = one("#filters");
  function filter() {
    const off = (name) => new Set(all(`input[name="${name}"]:not(:checked)`, filters).map((box) => box.value));
    const [tasks, metrics] = [off("task"), off("metric")];
    let shown = 0;
    all(".part").forEach((part) => {
      all("[data-metric]", part).forEach((cell) => { cell.hidden = metrics.has(cell.dataset.metric); });
      part.hidden = tasks.has(part.dataset.task) || all("th[data-metric]", part).every((head) => head.hidden);
      shown += !part.hidden;
    });
    one("#nothing").hidden = shown > 0;
    one("#table").classList.toggle("spreads", Boolean(one('input[name="spread"]:checked', filters)));
    one("#table").classList.toggle("no-reference", !one('input[name="reference"]:checked', filters));
  }
  if (filters) {
    filters.addEventListener("change", filter);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  // -- images

  function pixelsOf(image) {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height);
  }

  // Blue where the translation is darker than its source, red where it is brighter, grey where it is alike.
  function difference(canvas, translated, source) {
    const [now, before] = [pixelsOf(translated), pixelsOf(source)];
    canvas.width = now.width;
    canvas.height = now.height;
    for (let i = 0; i < now.data.length; i += 4) {
      const change = Math.max(-1, Math.min(1, (now.data[i] - before.data[i]) / 128));
      const ends = change < 0 ? [42, 120, 200] : [209, 67, 47];
      for (let k = 0; k < 3; k += 1) now.data[i + k] = 240 + (ends[k] - 240) * Math.abs(change);
    }
    canvas.getContext("2d").putImageData(now, 0, 0);
  }

  function layer(frame, kind, element) {
    const node = frame.appendChild(document.createElement(element));
    node.className = kind;
    node.setAttribute("aria-hidden", "true");
    return node;
  }

  function furnish(example) {
    if (example.dataset.ready) return;
    example.dataset.ready = "yes";
    const source = one(".source .base", example);
    const outline = one(".source .outline", example);
    all(".translation", example).forEach((tile) => {
      const [frame, base] = [one(".frame", tile), one(".base", tile)];
      if (!base) return;
      const change = layer(frame, "change", "canvas");
      Promise.all([base.decode(), source.decode()]).then(() => difference(change, base, source));
      const under = layer(frame, "under", "img");
      under.alt = "";
      under.src = source.src;
      layer(frame, "edge", "i").hidden = true;
      if (outline) {
        const copy = layer(frame, "outline", "img");
        copy.alt = "";
        copy.src = outline.src;
      }
    });
  }

  all(".pictures").forEach((pictures) => {
    const slice = one(".slice", pictures);
    if (!slice) return;
    const examples = all(".example", pictures);
    const choose = () => examples.forEach((example) => {
      example.hidden = example.dataset.slice !== slice.value;
      if (!example.hidden) furnish(example);
    });
    const wipe = one(".wipe", pictures);
    const pull = () => {
      one("output", pictures).textContent = `${wipe.value} %`;
      all(".frame", pictures).forEach((frame) => {
        frame.style.setProperty("--wipe", `${wipe.value}%`);
        const edge = one(".edge", frame);
        if (edge) edge.hidden = wipe.value === "0" || wipe.value === "100";
      });
    };
    const toggle = (box, name) => {
      const input = one(box, pictures);
      if (!input) return;
      const set = () => pictures.classList.toggle(name, input.checked);
      input.addEventListener("change", set);
      set();
    };
    slice.addEventListener("change", () => { choose(); pull(); });
    wipe.addEventListener("input", pull);
    one("form", pictures).addEventListener("submit", (event) => event.preventDefault());
    toggle(".show-outline", "outlines");
    toggle(".show-seen", "seeing");
    toggle(".show-difference", "difference");
    choose();
    pull();
  });

  // -- explanations: shown beside what they describe, on hover and on focus; Escape hides them

  const tooltip = one("#tooltip");
  let described = null;
  let leaving = 0;
  const hide = () => { described = null; tooltip.hidden = true; };
  const place = () => {
    if (!described) return;
    const [box, own] = [described.getBoundingClientRect(), tooltip.getBoundingClientRect()];
    const below = box.bottom + 6;
    tooltip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - own.width - 8))}px`;
    tooltip.style.top = `${below + own.height < innerHeight ? below : Math.max(8, box.top - own.height - 6)}px`;
  };
  const explain = (element) => {
    clearTimeout(leaving);
    if (element === described) return;
    described = element;
    tooltip.textContent = one(`#${element.getAttribute("aria-describedby")}`).textContent;
    tooltip.hidden = false;
    place();
  };
  const explained = (node) => node.closest?.('[aria-describedby^="x-"]') || one('[aria-describedby^="x-"]', node.closest?.(".chip") || tooltip);
  // The pointer may move onto the explanation, so it stays for a moment.
  const leave = () => { leaving = setTimeout(hide, 150); };
  document.addEventListener("pointerover", (event) => {
    const element = explained(event.target);
    if (element) explain(element);
    else if (tooltip.contains(event.target)) clearTimeout(leaving);
    else if (described && described !== document.activeElement) leave();
  });
  document.addEventListener("focusin", (event) => {
    const element = explained(event.target);
    if (element) explain(element); else hide();
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", place, { passive: true, capture: true });

  // -- an enlarged image, with all that lies over it

  const zoom = one("#zoom");
  const [pan, factor] = [one(".pan", zoom), one("input", zoom)];
  const enlarge = () => {
    const [frame, base] = [one(".frame", pan), one(".base", pan)];
    if (!frame) return;
    const fit = Math.min(pan.clientWidth / base.width, pan.clientHeight / base.height);
    frame.style.width = `${base.width * fit * factor.value}px`;
  };
  const open = (frame) => {
    const copy = frame.cloneNode(true);
    ["tabindex", "role", "aria-label"].forEach((name) => copy.removeAttribute(name));
    const source = all("canvas", frame);
    all("canvas", copy).forEach((canvas, i) => {
      [canvas.width, canvas.height] = [source[i].width, source[i].height];
      canvas.getContext("2d").drawImage(source[i], 0, 0);
    });
    const shell = document.createElement("div");
    shell.className = ["outlines", "seeing", "difference"].filter((name) => frame.closest(".pictures").classList.contains(name)).join(" ");
    shell.append(copy);
    pan.replaceChildren(shell);
    one("p", zoom).textContent = one(".base", frame).alt;
    factor.value = 1;
    zoom.showModal();
    enlarge();
  };
  all(".frame[role=button]").forEach((frame) => {
    frame.addEventListener("click", () => open(frame));
    frame.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(frame); }
    });
  });
  factor.addEventListener("input", enlarge);
  addEventListener("resize", enlarge);

  // -- copying

  const copyOld = (text) => {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  all(".copy").forEach((button) => button.addEventListener("click", async () => {
    const text = one("pre", button.parentElement).textContent;
    // A page from disk may not have the clipboard of the web.
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false) || copyOld(text);
    button.focus();
    button.textContent = done ? "Copied" : "Select and copy";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }));

  // -- where the reader is

  const links = new Map(all(".bar nav a").map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }), { rootMargin: "-20% 0px -75% 0px" });
  all("section[id]").forEach((section) => observer.observe(section));
  root.dataset.ready = "yes";
})();
