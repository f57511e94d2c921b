"use strict";

const WELCOME = `# Requests need a token. Where the gateway runs:
#
#   parsegate token operator
#
# Put it into the "Headers" pane below:
#
#   {"Authorization": "Bearer <the token>"}
#
# Then run this with Ctrl-Enter. The book at the left has the documentation.

{
  bundles(first: 10) {
    nodes {
      name
    }
  }
}
`;

function authorizationIn(headers) {
  try {
    const [, value] = Object.entries(JSON.parse(headers)).find(([name]) => name.toLowerCase() === "authorization");
    return value;
  } catch {
    return null;
  }
}

// GraphiQL reads the schema, for the documentation and completion, whenever it is given another fetcher.
function newFetcher() {
  return GraphiQL.createFetcher({ url: window.location.pathname });
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

const plugins = [GraphiQLPluginExplorer.explorerPlugin()];

function Page() {
  const [fetcher, setFetcher] = React.useState(newFetcher);
  const authorization = React.useRef(null);

  function onEditHeaders(headers) {
    const entered = authorizationIn(headers);
    if (entered !== null && entered !== authorization.current) {
      authorization.current = entered;
      setFetcher(newFetcher);
    }
  }

  // Without `shouldPersistHeaders` the headers last as long as the page, unless the person sets it otherwise.
  return React.createElement(GraphiQL, {
    fetcher,
    plugins,
    defaultQuery: WELCOME,
    defaultEditorToolsVisibility: "headers",
    inputValueDeprecation: true,
    isHeadersEditorEnabled: true,
    onEditHeaders,
    schemaDescription: true,
    storage,
  });
}

ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(Page));
