"use strict";
// The page is whole without this script; it adds sorting, filtering and downloads. It reads the tables on the page,
// writes text only (never markup), and sends nothing anywhere.
(function () {
  // What a cell is downloaded as: its full number, or its words without the ends of the interval (columns of their own).
  function value(cell) {
    if (cell.hasAttribute("data-v")) { return cell.getAttribute("data-v"); }
    var first = cell.hasAttribute("data-low") ? cell.querySelector("span") : null;
    return (first || cell).textContent.trim();
  }
  function sortKey(cell) {
    return cell.hasAttribute("data-sort") ? cell.getAttribute("data-sort") : value(cell);
  }
  function isNumber(text) {
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
  }
  // A spreadsheet runs a cell that begins with = + - @ (or a tab or line end) as a formula; numbers may begin with a sign.
  function csvCell(text) {
    var safe = /^[=+\-@\t\r\n]/.test(text) && !isNumber(text) ? "'" + text : text;
    return '"' + safe.replace(/"/g, '""') + '"';
  }
  function csv(table) {
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    var wide = heads.map(function (h) { return h.classList.contains("interval"); });
    var lines = [];
    var first = [];
    heads.forEach(function (h, i) {
      var title = h.getAttribute("data-title") || h.textContent.trim();
      first.push(csvCell(title));
      if (wide[i]) { first.push(csvCell(title + ", low"), csvCell(title + ", high")); }
    });
    lines.push(first.join(","));
    Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
      if (row.hidden) { return; }
      var line = [];
      Array.prototype.forEach.call(row.cells, function (cell, i) {
        line.push(csvCell(value(cell)));
        if (wide[i]) {
          line.push(csvCell(cell.getAttribute("data-low") || ""), csvCell(cell.getAttribute("data-high") || ""));
        }
      });
      lines.push(line.join(","));
    });
    return lines.join("\r\n") + "\r\n";
  }
  function compare(a, b) {
    var x = isNumber(a), y = isNumber(b);
    if (x && y) { return Number(a) - Number(b); }
    if (x !== y) { return x ? -1 : 1; }
    return a.localeCompare(b, undefined, { numeric: true });
  }
  function sortBy(table, index, head) {
    var down = head.getAttribute("aria-sort") === "ascending";
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (h) { h.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    var body = table.tBodies[0];
    var rows = Array.prototype.map.call(body.rows, function (row, i) {
      return { row: row, key: sortKey(row.cells[index]), place: i };
    });
    rows.sort(function (a, b) {
      var order = compare(a.key, b.key);
      return (down ? -order : order) || a.place - b.place;
    });
    rows.forEach(function (r) { body.appendChild(r.row); });
  }
  function makeSortable(table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, index) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.setAttribute("aria-label", "Sort by " + head.textContent.trim());
      head.setAttribute("data-title", head.textContent.trim());
      head.addEventListener("click", function () { sortBy(table, index, head); });
      head.appendChild(button);
    });
  }
  function download(table) {
    var blob = new Blob(["\ufeff" + csv(table)], { type: "text/csv;charset=utf-8" });
    var link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = table.id + ".csv";
    document.body.appendChild(link);
    link.click();
    document.body.removeChild(link);
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }
  function makeTools(tools) {
    var table = document.getElementById(tools.getAttribute("data-for"));
    var words = tools.querySelector(".filter");
    var grade = tools.querySelector(".grade-filter");
    var status = tools.querySelector(".shown");
    function update() {
      var wanted = words ? words.value.trim().toLowerCase() : "";
      var rows = table.tBodies[0].rows, count = 0;
      Array.prototype.forEach.call(rows, function (row) {
        var mark = row.querySelector("td.grade");
        var kept = row.textContent.toLowerCase().indexOf(wanted) >= 0;
        if (grade && grade.value && mark) { kept = kept && mark.textContent.trim() === grade.value; }
        row.hidden = !kept;
        count += kept ? 1 : 0;
      });
      if (words) { status.textContent = count + " of " + rows.length + " rows"; }
    }
    if (words) { words.addEventListener("input", update); }
    if (grade) { grade.addEventListener("change", update); }
    tools.querySelector(".download").addEventListener("click", function () { download(table); });
    tools.hidden = false;
    update();
  }
  function makeCopy(button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var range = document.createRange();
      range.selectNodeContents(document.querySelector("p.copy"));
      var selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
    });
  }
  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), makeSortable);
  Array.prototype.forEach.call(document.querySelectorAll(".tools"), makeTools);
  Array.prototype.forEach.call(document.querySelectorAll(".copy-card"), makeCopy);
  window.locard = { csv: csv };
})();
