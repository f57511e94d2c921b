// Shows again what changed: asks for the page once more and puts its new rows in place of the old ones.

const PAUSE = 2000;
const POLL = 10000;
const RECONNECT = 10000;
const EVENTS = "subscription Events($bundle: String!) { parseEvents(bundle: $bundle) { file { id } } }";

const live = document.getElementById("live");
const announcement = document.getElementById("announcement");
let refreshing = false;
let due = false;
let subscribed = false;

function tell(text) {
  live.hidden = false;
  live.textContent = text;
}

// A time that only grew older is no change.
function content(element) {
  return element.outerHTML.replace(/(<time [^>]*>)[^<]*/g, "$1").replace(/ open=""| class="changed"/g, "");
}

function replace(old, fresh) {
  const details = [...old.querySelectorAll("details")];
  const focusable = "a, button, summary, input, select, [tabindex]";
  const focused = [...old.querySelectorAll(focusable)].indexOf(document.activeElement);
  [...fresh.querySelectorAll("details")].forEach((each, index) => (each.open = details[index]?.open ?? false));
  old.replaceWith(fresh);
  fresh.querySelectorAll(focusable)[focused]?.focus({ preventScroll: true });
}

function updateTimes(old, fresh) {
  const times = fresh.querySelectorAll("time");
  old.querySelectorAll("time").forEach((each, index) => (each.textContent = times[index].textContent));
}

function updateRows(old, fresh) {
  const known = new Map([...old.children].map((row) => [row.dataset.key, row]));
  let place = old.firstElementChild;
  for (const row of [...fresh.children]) {
    const before = known.get(row.dataset.key);
    known.delete(row.dataset.key);
    if (before && content(before) === content(row)) {
      updateTimes(before, row);
      if (before === place) place = place.nextElementSibling;
      else old.insertBefore(before, place);
      continue;
    }
    row.classList.add("changed");
    if (before) {
      if (before === place) place = place.nextElementSibling;
      else old.insertBefore(before, place);
      replace(before, row);
    } else {
      old.insertBefore(row, place);
    }
  }
  known.forEach((row) => row.remove());
}

function updateRegion(old, fresh) {
  if (content(old) === content(fresh)) {
    updateTimes(old, fresh);
    return;
  }
  const [rows, freshRows] = [old, fresh].map((region) => region.querySelectorAll("[data-rows]"));
  const [parts, freshParts] = [old, fresh].map((region) => region.querySelectorAll("[data-part]"));
  if (rows.length !== 1 || freshRows.length !== 1 || parts.length !== freshParts.length) {
    replace(old, fresh);
    return;
  }
  updateRows(rows[0], freshRows[0]);
  parts.forEach((part, index) => content(part) === content(freshParts[index]) || replace(part, freshParts[index]));
}

async function refresh() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(`the gateway answers with status ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const failing = document.getElementById("failing").dataset.count;
  for (const region of document.querySelectorAll("[data-region]")) {
    const fresh = page.getElementById(region.id);
    for (const name of region.getAttributeNames()) region.setAttribute(name, fresh.getAttribute(name));
    updateRegion(region, fresh);
  }
  document.querySelector("footer").replaceWith(page.querySelector("footer"));
  const now = document.getElementById("failing").dataset.count;
  if (now !== failing) announcement.textContent = now === "1" ? "1 file fails now." : `${now} files fail now.`;
}

async function changed() {
  due = true;
  if (refreshing || document.hidden) return;
  refreshing = true;
  while (due && !document.hidden) {
    due = false;
    try {
      await refresh();
      tell(subscribed ? "Live" : `Refreshed every ${POLL / 1000} seconds`);
    } catch (error) {
      tell(`Not up to date: ${error.message}.`);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  refreshing = false;
}

// GraphQL over WebSocket (graphql-transport-ws). Without events, the page is only asked for every now and then.
function subscribe() {
  const bundles = JSON.parse(document.getElementById("main").dataset.watched);
  const address = new URL("graphql", location.href.replace(/^http/, "ws"));
  address.search = address.hash = "";
  const socket = new WebSocket(address, "graphql-transport-ws");
  const send = (message) => socket.send(JSON.stringify(message));
  const operations = {
    connection_ack() {
      subscribed = true;
      tell("Live");
      bundles.forEach((bundle) =>
        send({ id: bundle, type: "subscribe", payload: { query: EVENTS, variables: { bundle } } }),
      );
    },
    ping: () => send({ type: "pong" }),
    next: changed,
    error: () => (subscribed = false),
    complete: () => (subscribed = false),
  };
  socket.onopen = () => send({ type: "connection_init" });
  socket.onmessage = ({ data }) => operations[JSON.parse(data).type]?.();
  socket.onclose = () => {
    subscribed = false;
    setTimeout(subscribe, RECONNECT);
  };
}

// GraphiQL is shown in no frame.
document.getElementById("graphiql").hidden = window.top !== window;
tell(`Refreshed every ${POLL / 1000} seconds`);
subscribe();
setInterval(changed, POLL);
document.addEventListener("visibilitychange", () => due && changed());
