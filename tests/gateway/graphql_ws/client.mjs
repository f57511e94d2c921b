// Prints what graphql-ws makes of the gateway at URL, one JSON value a line: node client.mjs URL TOKEN
import { createClient } from 'graphql-ws';

const [url, token] = process.argv.slice(2);
const tell = (value) => process.stdout.write(JSON.stringify(value) + '\n');
const client = (options = {}) =>
  createClient({ url, connectionParams: { Authorization: `Bearer ${token}` }, ...options });
const attempt = async (wanted) => {
  try {
    return await wanted();
  } catch (problem) {
    return { code: problem.code, reason: problem.reason, errors: problem.map?.((error) => error.extensions.code) };
  }
};

const one = client();
const all = async (payload) => {
  const answers = [];
  for await (const answer of one.iterate(payload)) answers.push(answer);
  return answers;
};
const ticks = 'subscription ($to: Int!) { ticks(to: $to) { number } }';
tell(await attempt(() => all({ query: ticks, variables: { to: 3 } })));
tell(await attempt(() => all({ query: '{ __typename }' })));
tell(await attempt(() => all({ query: 'subscription { nothing }' })));
tell(await attempt(() => all({ query: 'mutation { change }' })));
await one.dispose();

const stranger = client({ connectionParams: { Authorization: 'Bearer forged' }, retryAttempts: 0 });
tell(await attempt(async () => (await stranger.iterate({ query: ticks }).next()).value));

// Survives a restart of the gateway.
const lasting = client({ shouldRetry: () => true, retryWait: () => new Promise((go) => setTimeout(go, 100)), retryAttempts: 100 });
lasting.on('closed', (event) => tell({ closed: event.code }));
const silence = lasting.iterate({ query: 'subscription { silence { number } }' });
tell((await silence.next()).value);
tell((await silence.next()).value);
await silence.return();
await lasting.dispose();
