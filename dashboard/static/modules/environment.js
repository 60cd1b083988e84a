// @ts-check
/** The environment page: draws the topology, follows the newest deployment, shows the outcome when it ends. */
import { layout } from "./layout.js";
import { follow } from "./reports.js";
import { draw } from "./view.js";
import { zoomable } from "./zoom.js";

const page = /** @type {HTMLElement} */ (document.getElementById("environment"));
const base = page.dataset.base ?? "";

/** @param {HTMLElement} place */
async function showTopology(place) {
  const answer = await fetch(`${base}/topology`, { headers: { Accept: "application/json" }, redirect: "error" });
  if (!answer.ok) {
    place.textContent = "The topology cannot be shown now.";
    return;
  }
  const graph = await answer.json();
  const arranged = layout(graph, /** @type {any} */ (window).dagre);
  const canvas = draw(place, graph, arranged, page.dataset.simulated === "yes");
  zoomable(place, canvas, arranged, /** @type {HTMLElement} */ (document.getElementById("zoom")));
}

/** @param {{id?: string}} deployment nothing when it has deleted the environment */
function finished(deployment) {
  if (deployment.id) window.location.reload();
  else window.location.assign(page.dataset.overview ?? "/");
}

const reports = document.getElementById("reports");
const { deployment } = page.dataset;
if (reports && deployment && page.dataset.finished === "no") {
  follow(reports, `${base}/events?deployment=${encodeURIComponent(deployment)}`, finished);
}
const place = document.getElementById("topology");
if (place) await showTopology(place);
