// @ts-check
/** The size of a drawing: as large as its place allows at first, then as the reader wants. */

const LEGIBLE = 0.6; // no drawing starts smaller; a larger one is scrolled
const LIMITS = { least: 0.02, most: 2 };
const STEP = 1.25;

/**
 * @param {HTMLElement} place
 * @param {HTMLElement} canvas the drawing in it, scaled as a whole
 * @param {{width: number, height: number}} size of the drawing
 * @param {HTMLElement} controls buttons with `data-zoom`
 */
export function zoomable(place, canvas, size, controls) {
  const fitting = () => Math.min(1, place.clientWidth / size.width, place.clientHeight / size.height);
  let scale = 1;

  /** @param {number} wanted */
  function show(wanted) {
    scale = Math.min(LIMITS.most, Math.max(LIMITS.least, wanted));
    canvas.style.transform = `scale(${scale})`;
    // What is scaled keeps its room in the layout; the frame around it has the room it takes up to the eye.
    const frame = /** @type {HTMLElement} */ (canvas.parentElement);
    frame.style.width = `${size.width * scale}px`;
    frame.style.height = `${size.height * scale}px`;
  }

  controls.addEventListener("click", (event) => {
    const how = event.target instanceof HTMLElement ? event.target.dataset.zoom : undefined;
    if (how === "in") show(scale * STEP);
    if (how === "out") show(scale / STEP);
    if (how === "fit") show(fitting());
  });
  controls.hidden = false;
  show(Math.max(LEGIBLE, Math.min(1, place.clientWidth / size.width)));
  place.scrollLeft = (place.scrollWidth - place.clientWidth) / 2;
}
