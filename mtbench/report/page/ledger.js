"use strict";
// The reader study: answers are kept in this browser and saved as a file; nothing is sent anywhere.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);

  const read = (key) => { try { return JSON.parse(localStorage.getItem(key)) || {}; } catch { return {}; } };
  const write = (key, value) => { try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* no storage */ } };

  function save(name, text, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const quoted = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
  function csv(records) {
    const heads = Object.keys(records[0]);
    return [heads.join(","), ...records.map((record) => heads.map((head) => quoted(record[head])).join(","))].join("\r\n") + "\r\n";
  }

  all(".ledger").forEach((ledger) => {
    const cards = all(".change", ledger);
    if (!cards.length) return;
    const key = `mtbench-ledger-${ledger.dataset.study}`;
    const state = { reader: "", answers: {}, ...read(key) };
    const reader = one(".reader", ledger);
    reader.value = state.reader;

    const show = () => {
      cards.forEach((card) => {
        const given = state.answers[card.dataset.id]?.answer;
        all("[data-answer]", card).forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.answer === given)));
      });
      const count = cards.filter((card) => state.answers[card.dataset.id]).length;
      one(".progress", ledger).textContent = `${count} of ${cards.length} answered`;
    };
    const keep = () => { write(key, state); show(); };

    reader.addEventListener("input", () => { state.reader = reader.value; keep(); });
    all("[data-answer]", ledger).forEach((button) => button.addEventListener("click", () => {
      const { id } = button.closest(".change").dataset;
      // A second click takes the answer back.
      if (state.answers[id]?.answer === button.dataset.answer) delete state.answers[id];
      else state.answers[id] = { answer: button.dataset.answer, answered: new Date().toISOString() };
      keep();
    }));

    const [row, kind] = [one(".by-row", ledger), one(".by-kind", ledger)];
    const filter = () => cards.forEach((card) => {
      card.hidden = Boolean((row.value && card.dataset.row !== row.value) || (kind.value && card.dataset.kind !== kind.value));
    });
    [row, kind].forEach((choice) => choice.addEventListener("change", filter));
    one("form", ledger).addEventListener("submit", (event) => event.preventDefault());

    const records = () => cards.map((card) => ({
      study: ledger.dataset.study, reader: state.reader,
      answer: state.answers[card.dataset.id]?.answer ?? "", answered: state.answers[card.dataset.id]?.answered ?? "",
      ...JSON.parse(card.dataset.record),
    }));
    one(".save-csv", ledger).addEventListener("click", () => save(`reader-study-${ledger.dataset.study}.csv`, csv(records()), "text/csv"));
    one(".save-json", ledger).addEventListener("click", () => {
      const study = { study: ledger.dataset.study, task: ledger.dataset.title, reader: state.reader, changes: records() };
      save(`reader-study-${ledger.dataset.study}.json`, JSON.stringify(study, null, 1) + "\n", "application/json");
    });
    show();
  });
})();
