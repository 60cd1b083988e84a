// @ts-check
/**
 * The graph of an environment: pure data and pure functions, no document.
 *
 * @typedef {{id: string, type: string, name: string, owner: string | null, addresses: string[]}} Node
 * @typedef {{source: string, target: string, property: string}} Edge
 * @typedef {{nodes: Node[], edges: Edge[]}} Graph
 * @typedef {{from: string, to: string, label: string, owns: boolean}} Link
 */

/**
 * All links to draw: references by their property, and ownership.
 * @param {Graph} graph
 * @returns {Link[]}
 */
export function links(graph) {
  const known = new Set(graph.nodes.map((node) => node.id));
  const references = graph.edges
    .filter((edge) => known.has(edge.source) && known.has(edge.target))
    .map((edge) => ({ from: edge.source, to: edge.target, label: edge.property, owns: false }));
  const owned = graph.nodes
    .filter((node) => node.owner !== null && known.has(node.owner))
    .map((node) => ({ from: node.id, to: /** @type {string} */ (node.owner), label: "", owns: true }));
  return [...references, ...owned];
}

/**
 * The short name of a type: `org.chandlery.kubernetes.Pod/0.1.0@org...` is `Pod`.
 * @param {string} type
 */
export function shortType(type) {
  return type.split("/")[0].split(".").at(-1) ?? type;
}

/**
 * One of the twelve hues of the style sheet, always the same for a type.
 * @param {string} type
 */
export function hue(type) {
  let sum = 0;
  for (const character of type.split("/")[0]) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return sum % 12;
}
