// @ts-check
/**
 * Where everything stands: dagre's layered layout of the graph, in pixels.
 *
 * @typedef {import("./model.js").Graph} Graph
 * @typedef {{x: number, y: number, width: number, height: number}} Box
 * @typedef {{points: {x: number, y: number}[], label: string, owns: boolean}} Route
 * @typedef {{boxes: Map<string, Box>, routes: Route[], width: number, height: number}} Layout
 */
import { links } from "./model.js";

const NODE = { width: 200, height: 52 };

/**
 * @param {Graph} graph
 * @param {any} dagre the library
 * @returns {Layout}
 */
export function layout(graph, dagre) {
  const drawing = new dagre.graphlib.Graph({ multigraph: true });
  drawing.setGraph({ rankdir: "BT", nodesep: 24, ranksep: 56, marginx: 12, marginy: 12 });
  drawing.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) drawing.setNode(node.id, { ...NODE });
  const all = links(graph);
  all.forEach((link, index) => {
    drawing.setEdge(link.from, link.to, { link, width: link.label.length * 6, height: 14, labelpos: "c" }, String(index));
  });
  dagre.layout(drawing);
  /** @type {Map<string, Box>} */
  const boxes = new Map(graph.nodes.map((node) => [node.id, drawing.node(node.id)]));
  const routes = drawing.edges().map((/** @type {any} */ edge) => {
    const { points, link } = drawing.edge(edge);
    return { points, label: link.label, owns: link.owns };
  });
  const size = drawing.graph();
  return { boxes, routes, width: size.width, height: size.height };
}
