// Elements from data. Texts become text nodes, and no function takes markup.

const SVG = "http://www.w3.org/2000/svg";

/// Creates an element with properties, data attributes and children.
export function element(name, properties = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "onclick" || key === "onsubmit" || key === "oninput" || key === "onchange") {
      created.addEventListener(key.slice(2), value);
    } else if (value === true) {
      created.setAttribute(key, "");
    } else if (value !== false && value !== undefined) {
      created.setAttribute(key, String(value));
    }
  }
  append(created, children);
  return created;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/// Replaces the content of an element.
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/// A table with a caption for screen readers; a column is [heading, function of a row, class].
export function table(label, columns, rows) {
  const head = columns.map(([heading, , style]) => element("th", { scope: "col", class: style }, heading));
  const body = rows.map((row) => element("tr", {}, columns.map(([, read, style]) => element("td", { class: style }, read(row)))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    element("table", {}, element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
}

/// A list of names and values.
export function facts(entries) {
  const known = entries.filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return element("dl", {}, known.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/// A line chart of numbers, with a text for screen readers.
export function chart(label, values) {
  const [width, height] = [480, 64];
  const top = Math.max(1, ...values);
  const step = width / Math.max(1, values.length - 1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}

/// A duration in microseconds, for reading.
export function duration(micros) {
  return micros < 1000 ? `${micros} µs` : micros < 1000000 ? `${(micros / 1000).toFixed(1)} ms` : `${(micros / 1000000).toFixed(1)} s`;
}
