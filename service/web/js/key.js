// The API key: asked for when the service wants one, kept for this tab alone. /docs reads the same entry.

const ENTRY = "parallax-api-key";
const dialog = document.getElementById("key");
const text = document.getElementById("key-text");
const why = document.getElementById("key-why");
const forget = document.getElementById("forget");
let asking = null;

export const key = () => sessionStorage.getItem(ENTRY) ?? "";

/** Ask for a key, once however many want one. Resolves to whether there is one now. */
export function askForKey() {
  asking ??= new Promise((resolve) => {
    if (key()) why.textContent = "The service does not know the key that was given. Mind capitals and blanks.";
    sessionStorage.removeItem(ENTRY);
    text.value = "";
    dialog.returnValue = "cancel";
    dialog.showModal();
    text.focus();
    dialog.addEventListener(
      "close",
      () => {
        const given = dialog.returnValue === "use" ? text.value.trim() : "";
        text.value = "";
        if (given) sessionStorage.setItem(ENTRY, given);
        asking = null;
        show();
        resolve(Boolean(given));
      },
      { once: true },
    );
  });
  return asking;
}

function show() {
  forget.hidden = !key();
}

// Enter in a form presses its first button, which is the one that leaves.
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  dialog.close("use");
});
forget.addEventListener("click", () => {
  sessionStorage.removeItem(ENTRY);
  location.reload();
});
show();
