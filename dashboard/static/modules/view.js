// @ts-check
/**
 * Draws a laid-out graph: nodes are elements, edges are one SVG. Text is only ever set as text.
 *
 * @typedef {import("./model.js").Graph} Graph
 * @typedef {import("./layout.js").Layout} Layout
 */
import { hue, shortType } from "./model.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {HTMLElement} place
 * @param {Graph} graph
 * @param {Layout} layout
 * @param {boolean} simulated the cloud is not a real one, and every node says so
 * @returns {HTMLElement} the drawing, in a frame of its own
 */
export function draw(place, graph, layout, simulated) {
  const canvas = document.createElement("div");
  canvas.className = "canvas";
  canvas.style.width = `${layout.width}px`;
  canvas.style.height = `${layout.height}px`;
  canvas.append(edges(layout), ...graph.nodes.map((node) => element(node, layout, simulated)));
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.append(canvas);
  place.replaceChildren(frame);
  return canvas;
}

/** @param {Layout} layout */
function edges(layout) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("width", String(layout.width));
  svg.setAttribute("height", String(layout.height));
  for (const route of layout.routes) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", curve(route.points));
    path.setAttribute("class", route.owns ? "edge owns" : "edge");
    svg.append(path);
    if (route.label) {
      const middle = route.points[Math.floor(route.points.length / 2)];
      const text = document.createElementNS(SVG, "text");
      text.setAttribute("x", String(middle.x + 5));
      text.setAttribute("y", String(middle.y + 3));
      text.setAttribute("class", "edge-label");
      text.textContent = route.label;
      svg.append(text);
    }
  }
  return svg;
}

/** @param {{x: number, y: number}[]} points */
function curve(points) {
  const [first, ...rest] = points;
  const middle = rest.slice(0, -1).map((point, index) => {
    const next = rest[index + 1];
    return `Q${point.x},${point.y} ${(point.x + next.x) / 2},${(point.y + next.y) / 2}`;
  });
  const last = rest.at(-1) ?? first;
  return `M${first.x},${first.y} ${middle.join(" ")} L${last.x},${last.y}`;
}

/**
 * @param {import("./model.js").Node} node
 * @param {Layout} layout
 * @param {boolean} simulated
 */
function element(node, layout, simulated) {
  const box = /** @type {import("./layout.js").Box} */ (layout.boxes.get(node.id));
  const card = document.createElement("div");
  card.className = `node hue-${hue(node.type)}`;
  card.title = [node.name, node.type, ...(node.addresses ?? [])].join("\n");
  Object.assign(card.style, {
    left: `${box.x - box.width / 2}px`,
    top: `${box.y - box.height / 2}px`,
    width: `${box.width}px`,
    height: `${box.height}px`,
  });
  const name = document.createElement("strong");
  name.textContent = node.name;
  const detail = document.createElement("span");
  detail.className = "dim";
  const said = node.addresses?.length ? node.addresses : [shortType(node.type)];
  detail.textContent = [...said, ...(simulated ? ["simulated"] : [])].join(" · ");
  card.append(name, detail);
  return card;
}
