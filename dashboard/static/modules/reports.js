// @ts-check
/**
 * The reports of a deployment as they happen, below those that the page came with.
 *
 * @typedef {{id: string, created?: string, level: string, text: string, details?: string | null}} Report
 */

const AGAIN = 2000; // milliseconds until a refused or broken stream is asked for again

/**
 * @param {HTMLElement} list
 * @param {string} address of the event stream
 * @param {(deployment: {id?: string}) => void} finished
 */
export function follow(list, address, finished) {
  const seen = new Set(Array.from(list.children, (line) => /** @type {HTMLElement} */ (line).dataset.id));
  const lost = document.getElementById("lost");
  list.scrollTop = list.scrollHeight;

  function connect() {
    const stream = new EventSource(address);
    stream.addEventListener("open", () => lost?.setAttribute("hidden", ""));
    stream.addEventListener("report", (event) => {
      const report = /** @type {Report} */ (JSON.parse(event.data));
      if (seen.has(report.id)) return;
      seen.add(report.id);
      append(list, report);
    });
    stream.addEventListener("finished", (event) => {
      stream.close();
      finished(JSON.parse(event.data));
    });
    stream.addEventListener("error", () => {
      lost?.removeAttribute("hidden");
      if (stream.readyState === EventSource.CLOSED) setTimeout(again, AGAIN);
    });
  }

  /** A stream does not tell why it was refused; the page does. */
  async function again() {
    const page = await fetch(window.location.href).catch(() => null);
    if (page?.status === 404) finished({});
    else connect();
  }

  connect();
}

/**
 * A reader who has scrolled up is left there.
 * @param {HTMLElement} list
 * @param {Report} report
 */
function append(list, report) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  document.getElementById("silence")?.setAttribute("hidden", "");
  list.append(line(report));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** @param {Report} report */
function line(report) {
  const item = document.createElement("li");
  item.className = report.level;
  item.dataset.id = report.id;
  const time = document.createElement("time");
  time.dateTime = `${report.created ?? ""}Z`;
  time.textContent = (report.created ?? "").slice(11, 19);
  const said = document.createElement("div");
  said.className = "said";
  if (report.level === "warning" || report.level === "error") {
    const level = document.createElement("strong");
    level.textContent = `${report.level[0].toUpperCase()}${report.level.slice(1)}:`;
    said.append(level, " ");
  }
  const text = document.createElement("span");
  text.className = "text";
  text.textContent = report.text;
  said.append(text);
  if (report.details) said.append(details(report.details));
  item.append(time, said);
  return item;
}

/** @param {string} text */
function details(text) {
  const disclosure = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "Details";
  const content = document.createElement("pre");
  content.textContent = text;
  disclosure.append(summary, content);
  return disclosure;
}
