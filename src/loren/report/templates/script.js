// The page reads without this: it adds a switch of colours and buttons that copy commands.
(function () {
  "use strict";
  var words = document.body.dataset;
  function button(text, action) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", action);
    return made;
  }
  document.querySelector("header").appendChild(button(words.themeWord, function () {
    var root = document.documentElement;
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  })).className = "theme";
  document.querySelectorAll("pre.command").forEach(function (block) {
    var copy = button(words.copy, function () {
      var range = document.createRange();
      range.selectNodeContents(block);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (navigator.clipboard) {
        navigator.clipboard.writeText(block.textContent).then(function () { copy.textContent = words.copied; }, function () {});
      }
    });
    copy.className = "copy";
    block.after(copy);
  });
  // A link into the page opens what it points into; printing opens everything.
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (part) { part.open = true; });
  });
})();
