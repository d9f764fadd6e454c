// Ask the sandbox by a client that others wrote, as it comes from npm, and print what the client returns.
//
// node ask.js CLIENT < {"address", "appid", "secret", "calls": [["getusersummary", "2026-06-01", "2026-06-01"], …]}
// prints the rows of each call; null if the client has no method for it.
'use strict';

const WECHAT = 'https://api.weixin.qq.com';

// Its addresses are constants of its code, so its one method that sends takes them elsewhere.
function coWechatApi({ address, appid, secret }) {
  const API = require('co-wechat-api');
  const api = new API(appid, secret);
  const send = api.request;
  api.request = (url, ...rest) => send.call(api, url.replace(WECHAT, address), ...rest);
  const methods = new Map(Object.keys(API.prototype).map((name) => [name.toLowerCase(), name]));
  const ask = async (name, begin, end) => (await api[methods.get(name)](begin, end)).list;
  return { knows: (name) => methods.has(name), ask };
}

// It has an option for the address, and keeps tokens in files of the working folder. It has no method for an API, since
// its users name the path, and hands refusals to them as answers.
function nodeEasywechat({ address, appid, secret }) {
  const { OfficialAccount } = require('node-easywechat');
  const app = new OfficialAccount({ app_id: appid, secret, http: { baseURL: `${address}/` } });
  const ask = async (name, begin, end) => {
    const answer = await app.getClient().postJson(`/datacube/${name}`, { begin_date: begin, end_date: end });
    const told = answer.toObject();
    if (told.errcode) throw new Error(told.errmsg);
    return told.list;
  };
  return { knows: () => true, ask };
}

const CLIENTS = { 'co-wechat-api': coWechatApi, 'node-easywechat': nodeEasywechat };

async function main() {
  const plan = JSON.parse(require('fs').readFileSync(0, 'utf-8'));
  const client = CLIENTS[process.argv[2]](plan);
  const answers = [];
  for (const [name, begin, end] of plan.calls) {
    answers.push(client.knows(name) ? await client.ask(name, begin, end) : null);
  }
  process.stdout.write(JSON.stringify(answers));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
