// The same request from a program: what can be copied is what the page sends.

import { choice, h } from "../dom.js";
import { key } from "../key.js";
import { TOP } from "./asking.js";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl(name, file) {
  const guard = key() ? ` -H "X-API-Key: $PARALLAX_API_KEY"` : "";
  const one = `${location.origin}/v1/classify?backend=${encodeURIComponent(name)}&top=${TOP}`;
  return `# every backend\ncurl${guard} --data-binary ${quoted(`@${file}`)} ${quoted(`${location.origin}/v1/compare?top=${TOP}`)}\n\n# one of them\ncurl${guard} --data-binary ${quoted(`@${file}`)} ${quoted(one)}`;
}

function python(_, file) {
  const text = JSON.stringify(file);
  const [brings, guard] = key() ? ["import os\n\nimport httpx", `\n    headers={"X-API-Key": os.environ["PARALLAX_API_KEY"]},`] : ["import httpx", ""];
  return `${brings}

with open(${text}, "rb") as image:
    data = image.read()
reply = httpx.post(
    "${location.origin}/v1/compare",
    params={"top": ${TOP}},
    content=data,${guard}
)
for name, answer in reply.raise_for_status().json()["results"].items():
    print(name, answer.get("predictions") or answer["detail"])`;
}

const LANGUAGES = { curl: ["curl", curl], python: ["Python", python] };

/** `name`: a backend. `file`: what the image is called. */
export function snippets(name, file) {
  const code = h("code");
  const copy = h("button", { type: "button", onclick: () => copied(copy, code.textContent) }, "Copy");
  const show = (language) => {
    code.textContent = LANGUAGES[language][1](name, file);
  };
  show("curl");
  const options = Object.entries(LANGUAGES).map(([value, [label]]) => [value, label]);
  return h(
    "section.snippets",
    { "aria-labelledby": "code-title" },
    h("div.heading", {}, h("h2", { id: "code-title" }, "The same from a program"), choice("Language", "language", options, "curl", show)),
    h("div.snippet", {}, h("pre", { tabindex: "0", role: "region", "aria-label": "Code" }, code), copy),
  );
}

async function copied(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code")); // without a secure origin there is no clipboard
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1600);
}
