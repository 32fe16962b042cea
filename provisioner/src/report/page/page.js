"use strict";
(() => {
  const { texts, rows } = JSON.parse(document.getElementById("data").textContent);
  const [LINE, IDENTITY, END, KIND, MORE, ENDED, SERIAL] = [0, 1, 2, 3, 4, 5, 6];
  const PER_PAGE = 100;
  const ON_PAPER = 500;
  const element = (id) => document.getElementById(id);
  const [search, body, pages, count] = ["search", "body", "pages", "count"].map(element);
  const number = (value) => value.toLocaleString("en-US");
  const haystacks = rows.map((row) =>
    `${row[IDENTITY]}\n${row[END]}\n${texts[row[MORE]]}\n${row[SERIAL]}`.toLowerCase());
  let found = rows;
  let page = 0;

  // Everything gets onto the screen as text: nothing of a row is ever read as HTML.
  const make = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  };

  // What stands between backticks is code.
  const prose = (text) => make("bdi", "",
    ...text.split("`").map((part, index) => (index % 2 ? make("code", "", part) : part)));

  const time = (text) => text.replace("T", " ").replace("Z", " UTC");

  const shown = (row) => {
    const identity = make("th", "", make("bdi", "", row[IDENTITY]));
    identity.scope = "row";
    if (row[SERIAL]) identity.append(make("small", "", `serial ${row[SERIAL]}`));
    const end = make("td", "", make("span", `end ${row[END]}`, row[END]));
    if (texts[row[ENDED]]) end.append(make("small", "", time(texts[row[ENDED]])));
    return make("tr", "", make("td", "number", String(row[LINE])), identity, end,
      make("td", "", prose(texts[row[MORE]])));
  };

  const show = (from, length) => body.replaceChildren(...found.slice(from, from + length).map(shown));

  const turn = (to) => {
    const last = Math.max(0, Math.ceil(found.length / PER_PAGE) - 1);
    page = Math.min(Math.max(to, 0), last);
    show(page * PER_PAGE, PER_PAGE);
    pages.hidden = last === 0;
    element("back").disabled = page === 0;
    element("next").disabled = page === last;
    const from = page * PER_PAGE;
    element("page").textContent =
      `${number(from + 1)} to ${number(Math.min(from + PER_PAGE, found.length))} of ${number(found.length)}`;
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = document.querySelector("input[name=kind]:checked").value;
    found = rows.filter((row, index) =>
      (kind === "" || row[KIND] === Number(kind)) && words.every((word) => haystacks[index].includes(word)));
    const what = found.length === 1 ? "1 row" : `${number(found.length)} rows`;
    count.textContent = words.length ? `${what} found` : what;
    turn(0);
  };

  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
  document.querySelectorAll("input[name=kind]").forEach((input) => input.addEventListener("change", filter));
  element("back").addEventListener("click", () => turn(page - 1));
  element("next").addEventListener("click", () => turn(page + 1));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== search) {
      event.preventDefault();
      search.focus();
    }
  });
  addEventListener("beforeprint", () => show(0, ON_PAPER));
  addEventListener("afterprint", () => turn(page));

  element("tools").hidden = false;
  filter();
})();
