// Sends a zip with its options. XMLHttpRequest, because fetch tells nobody how far an upload is.

import { headers, Problem } from "../api.js";
import { askForKey } from "../key.js";

/** `fields` of the form beside the zip; `progress(share)` while it goes. Resolves to the job. */
export async function upload(file, fields, progress, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value !== null && value !== "") form.append(name, value);
  form.append("dataset", file, file.name); // last: the options are known before the first byte of it
  const reply = await sent(form, progress, signal);
  if (reply.status === 401 && (await askForKey())) return upload(file, fields, progress, signal);
  const body = reply.response ?? { title: "The upload was cut off", detail: "The service closed the connection. Its log may say why." };
  if (reply.status === 202) return body;
  throw new Problem({ ...body, status: reply.status });
}

function sent(form, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/scorings");
    request.responseType = "json";
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / total);
    request.onload = () => resolve(request);
    request.onerror = () => resolve(request); // a refused body ends the connection before it is sent
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}
