// A part of a page that is replaced every few seconds waits while something in it is pressed: a button that is replaced
// between pressing and releasing it gets no click.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.querySelector(":active")) event.detail.shouldSwap = false;
});
