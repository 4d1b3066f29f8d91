// A click on a heading of a table sorts its rows; a second click turns the order round.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const key = (row, column) => row.cells[column].textContent.trim();
  const number = (text) => parseFloat(text.replace(/,/g, "").replace("\u2212", "-").replace(/^[<>]/, ""));
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falls = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falls ? "descending" : "ascending");
      const rows = Array.from(body.rows);
      const compare = (a, b) => {
        const [x, y] = [key(a, column), key(b, column)], [p, q] = [number(x), number(y)];
        if (isNaN(p) || isNaN(q)) {
          if (isNaN(p) && isNaN(q)) return (falls ? -1 : 1) * x.localeCompare(y);
          return isNaN(p) ? 1 : -1;  // what is no number comes last
        }
        return (falls ? -1 : 1) * (p - q);
      };
      body.append(...rows.sort(compare));
    });
  });
}
