"use strict";

const ASSETS = document.currentScript.src;
// The gateway's own root, also where a proxy puts a path of its own in front.
const ROOT = window.location.pathname.replace(/\/graphql\/?$/, "");
const SAVED_QUERIES = "Saved queries";

function welcome() {
  return `# Requests need a login or a token. Where the gateway runs, this prints a link that logs this browser in:
#
#   parsegate token operator --login-url ${window.location.origin}${ROOT}
#
# Or put a token of \`parsegate token operator\` into the "Headers" pane below:
#
#   {"Authorization": "Bearer <the token>"}
#
# Then run this with Ctrl-Enter. The book at the left has the documentation, the list below it saved queries.

{
  bundles(first: 10) {
    nodes {
      name
    }
  }
}
`;
}

function authorizationIn(headers) {
  try {
    const [, value] = Object.entries(JSON.parse(headers)).find(([name]) => name.toLowerCase() === "authorization");
    return value;
  } catch {
    return null;
  }
}

// GraphiQL reads the schema, for the documentation and completion, whenever it is given another fetcher. What is in the
// "Headers" pane goes along; for a subscription, in the first message over the WebSocket.
function newFetcher(isLoggedIn) {
  const { protocol, host, pathname } = window.location;
  return GraphiQL.createFetcher({
    url: pathname,
    headers: isLoggedIn ? { "X-Parsegate-CSRF": "1" } : {},
    subscriptionUrl: `${protocol.replace("http", "ws")}//${host}${pathname}`,
  });
}

// The browser keeps queries. GraphiQL's history would keep the headers of each with them, and so tokens.
const storage = {
  get length() {
    return localStorage.length;
  },
  getItem: (name) => localStorage.getItem(name),
  setItem: (name, value) => localStorage.setItem(name, isHistory(name) ? withoutHeaders(value) : value),
  removeItem: (name) => localStorage.removeItem(name),
  clear: () => localStorage.clear(),
};

function isHistory(name) {
  return name === "graphiql:queries" || name === "graphiql:favorites";
}

function withoutHeaders(history) {
  return JSON.stringify(JSON.parse(history), (key, value) => (key === "headers" ? undefined : value));
}

const element = React.createElement;

function ListIcon() {
  const lines = [3, 9, 15].flatMap((y) => [
    element("circle", { key: `dot${y}`, cx: 2.5, cy: y, r: 1.5, fill: "currentColor" }),
    element("path", { key: `line${y}`, d: `M7 ${y}h10`, stroke: "currentColor", strokeWidth: 2 }),
  ]);
  return element("svg", { viewBox: "0 0 18 18", width: "1em", height: "1em", "aria-hidden": true }, lines);
}

// What is between backticks, as code.
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", { key: index }, part) : part));
}

function savedQueriesPlugin(savedQueries) {
  function Content() {
    const editor = GraphiQL.React.useEditorContext({ nonNull: true });
    const execution = GraphiQL.React.useExecutionContext({ nonNull: true });

    function open(saved) {
      const { tabs, activeTabIndex, queryEditor } = editor;
      const opened = tabs.findIndex((tab) => tab.query === saved.query);
      if (opened === activeTabIndex) return;
      execution.stop();
      if (opened >= 0) {
        editor.changeTab(opened);
        return;
      }
      editor.addTab();
      // The new tab gets its own first text when React has shown it, which is before this.
      setTimeout(() => queryEditor.setValue(saved.query));
    }

    const items = savedQueries.map((saved) =>
      element(
        "li",
        { key: saved.name },
        element(
          "button",
          { type: "button", className: "graphiql-un-styled", "data-name": saved.name, onClick: () => open(saved) },
          element("strong", null, saved.title),
          element("span", null, withCode(saved.description)),
        ),
      ),
    );
    return element(
      "section",
      { className: "saved-queries", "aria-label": SAVED_QUERIES },
      element("div", { className: "graphiql-doc-explorer-title" }, SAVED_QUERIES),
      element("ul", null, items),
    );
  }

  return { title: SAVED_QUERIES, icon: ListIcon, content: Content };
}

async function logOut() {
  await fetch(`${ROOT}/logout`, { method: "POST" });
  window.location.reload();
}

function LoginState({ subject, canLogOut }) {
  if (subject === null) return element("div", { className: "login-state" }, "Not logged in");
  return element(
    "div",
    { className: "login-state" },
    element("span", null, `Logged in as ${subject}`),
    canLogOut &&
      element("button", { type: "button", className: "graphiql-un-styled", onClick: logOut }, "Log out"),
  );
}

function Page({ subject, canLogOut, savedQueries, plugins, visiblePlugin }) {
  const isLoggedIn = subject !== null;
  const [fetcher, setFetcher] = React.useState(() => newFetcher(isLoggedIn));
  const authorization = React.useRef(null);

  function onEditHeaders(headers) {
    const entered = authorizationIn(headers);
    if (entered !== null && entered !== authorization.current) {
      authorization.current = entered;
      setFetcher(() => newFetcher(isLoggedIn));
    }
  }

  // Without `shouldPersistHeaders` the headers last as long as the page, unless the person sets it otherwise.
  return element(
    GraphiQL,
    {
      fetcher,
      plugins,
      visiblePlugin,
      defaultQuery: isLoggedIn ? "" : welcome(),
      defaultTabs: isLoggedIn ? savedQueries.slice(0, 1).map(({ query }) => ({ query })) : undefined,
      defaultEditorToolsVisibility: isLoggedIn ? "variables" : "headers",
      inputValueDeprecation: true,
      isHeadersEditorEnabled: true,
      onEditHeaders,
      schemaDescription: true,
      storage,
    },
    element(GraphiQL.Logo, null, element(LoginState, { subject, canLogOut })),
  );
}

async function json(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} was answered with ${response.status}.`);
  return response.json();
}

async function start() {
  const [{ subject, canLogOut }, savedQueries] = await Promise.all([
    json(`${ROOT}/session`),
    json(new URL("saved-queries.json", ASSETS)),
  ]);
  const saved = savedQueriesPlugin(savedQueries);
  const properties = {
    subject,
    canLogOut,
    savedQueries,
    plugins: [saved, GraphiQLPluginExplorer.explorerPlugin()],
    // Until the person has chosen what is shown at the left.
    visiblePlugin: localStorage.getItem("graphiql:visiblePlugin") === null && subject !== null ? saved : undefined,
  };
  ReactDOM.createRoot(document.getElementById("graphiql")).render(element(Page, properties));
}

start().catch((error) => {
  document.getElementById("graphiql").textContent = `GraphiQL could not start: ${error.message} Load the page again.`;
});
