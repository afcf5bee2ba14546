// Lists: a link back to a list leads to the search and the page that the reader left, and a button leads to the previous
// page of the list.
(function () {
  "use strict";
  const key = "outboxd-lists"; // the addresses of the lists that this tab showed, by their paths; the last one is last
  let lists = [];
  try {
    lists = JSON.parse(sessionStorage.getItem(key)) || [];
  } catch { /* the links lead to the lists without a search */ }
  const { pathname, search } = location;

  if (document.querySelector("main form[role=search]")) {
    const name = document.querySelector("nav [aria-current]").textContent;
    lists = lists.filter((list) => list.pathname !== pathname);
    lists.push({ pathname, search, name });
    try {
      sessionStorage.setItem(key, JSON.stringify(lists));
    } catch { /* as above */ }
  }

  // The page of one event leads back to the list that was shown last. A list below another list leads back to the upper one.
  const back = document.querySelector("a[data-back]");
  if (back) {
    const above = lists.findLast((list) => list.pathname === back.pathname);
    const left = document.querySelector("main form[role=search]") ? above : lists.at(-1);
    if (left) {
      back.href = left.pathname + left.search;
      back.textContent = left.name;
    }
  }

  const previous = document.getElementById("previous");
  if (previous && document.referrer && new URL(document.referrer).pathname === pathname) {
    previous.hidden = false;
    previous.addEventListener("click", () => history.back());
  }
})();
