// Shows the API's description. Where the service needs a key, it is asked for once and kept for this tab only.
const KEY = "parallax-api-key";

function fetchDescription() {
  const key = sessionStorage.getItem(KEY);
  return fetch("/openapi.json", { headers: key ? { "X-API-Key": key } : {} });
}

async function show() {
  let reply = await fetchDescription();
  while (reply.status === 401) {
    const key = prompt("API key");
    if (!key) return;
    sessionStorage.setItem(KEY, key);
    reply = await fetchDescription();
  }
  SwaggerUIBundle({
    spec: await reply.json(),
    dom_id: "#api",
    deepLinking: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      const key = sessionStorage.getItem(KEY);
      if (key) request.headers["X-API-Key"] = key;
      return request;
    },
  });
}

show();
