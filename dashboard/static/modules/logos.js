// @ts-check
/** A logo that cannot be shown gives way to the initial under it. The policy allows no handlers in the pages. */

/** @param {EventTarget | null} image */
function giveWay(image) {
  if (image instanceof HTMLImageElement && image.closest(".logo")) image.classList.add("absent");
}

document.addEventListener("error", (event) => giveWay(event.target), true);
for (const image of document.images) if (image.complete && image.naturalWidth === 0) giveWay(image);
