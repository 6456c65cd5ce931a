// Begins: colours, figures, and claims that a mark leads to.

const root = document.documentElement;
root.classList.add("js");

const theme = document.getElementById("theme");
theme.parentElement.hidden = false;
theme.addEventListener("change", () => {
  if (theme.value) root.dataset.theme = theme.value;
  else delete root.dataset.theme;
});

for (const [selector, Kind] of [["figure.chart", Figure], ["figure.timeline", Timeline]]) {
  for (const figure of document.querySelectorAll(selector)) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    new Kind(data, figure.querySelector(".live"));
  }
}

/** A claim that is folded away unfolds where a link leads to it. */
function unfold() {
  let claim = location.hash && document.getElementById(location.hash.slice(1));
  if (!claim) return;
  for (let own = claim; own; own = own.parentElement) if (own.tagName === "DETAILS") own.open = true;
  claim.scrollIntoView({ block: "center" });
}
window.addEventListener("hashchange", unfold);
unfold();
