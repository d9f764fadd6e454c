// The search takes a dash before a word for "without it", and fails on two. Options of harvester begin so.
document.addEventListener("input", ({ target }) => {
  if (!target.matches(".md-search__input")) return;
  const value = target.value.replaceAll(/(^|\s)--(?=\w)/g, "$1");
  if (value !== target.value) target.value = value;
}, { capture: true });
