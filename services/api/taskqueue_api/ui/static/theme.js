// Dark or light, as the reader chose in this browser; as their system has it where they didn't. It runs before the page
// is drawn, so it is no module.

(() => {
  const NAME = "taskqueue-theme";
  const page = document.documentElement;

  function kept() {
    try {
      return localStorage.getItem(NAME) ?? "";
    } catch {
      return ""; // where a browser keeps nothing for pages
    }
  }

  function keep(theme) {
    page.dataset.theme = theme;
    try {
      localStorage.setItem(NAME, theme);
    } catch {
      // It holds for this page.
    }
  }

  page.dataset.theme = kept();
  addEventListener("storage", ({ key }) => {
    if (key === NAME) page.dataset.theme = document.getElementById("theme").value = kept();
  });
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = kept();
    choice.addEventListener("change", () => keep(choice.value));
  });
})();
