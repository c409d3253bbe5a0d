// A part of a page that is replaced every few seconds waits while something in it, or any button, is pressed: a button
// that is replaced between pressing and releasing it gets no click. The button may be another part of the answer.
document.addEventListener("htmx:beforeSwap", (event) => {
  const pressed = event.detail.target.querySelector(":active") || document.querySelector("button:active");
  if (pressed) event.detail.shouldSwap = false;
});

// What a form was sent for is answered by a page of its own: nothing else leads away before it has come.
let isSent = false;
document.addEventListener("submit", (event) => {
  isSent = !event.defaultPrevented;
});
window.addEventListener("pageshow", () => {
  isSent = false;
});
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (isSent && event.detail.xhr.getResponseHeader("HX-Redirect")) event.preventDefault();
});

// A run that ends without a reason leaves its log to read.
document.addEventListener("htmx:afterSwap", () => {
  const opens = document.querySelector("[data-opens]");
  if (!opens) return;
  document.getElementById(opens.dataset.opens).open = true;
  document.getElementById("log-meaning")?.remove();
  opens.remove();
});
