// Filters of the claims table; without scripts the whole table is shown.
const form = document.querySelector(".filters");
const rows = [...document.querySelectorAll("#claims-table tbody tr")];
// what a claim is found by: its row and all that its section says of it
const texts = rows.map((row) => [row, document.getElementById(row.dataset.section)]
  .map((part) => part.textContent.toLowerCase()).join(" "));
const count = document.querySelector("#shown");
function filter() {
  const words = form.elements.words.value.trim().toLowerCase();
  const status = form.elements.status.value;
  const verdict = form.elements.verdict.value;
  let shown = 0;
  for (const [i, row] of rows.entries()) {
    const fits = (!words || words.split(/\s+/).every((word) => texts[i].includes(word)))
      && (!status || row.dataset.status === status)
      && (!verdict || Number(row.dataset[verdict]) > 0);
    row.hidden = !fits;
    document.getElementById(row.dataset.section).hidden = !fits;
    shown += fits;
  }
  count.textContent = `${shown} of ${rows.length} claims shown`;
}
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();
