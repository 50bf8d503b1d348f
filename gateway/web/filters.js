// Filter chips: each is one typed comparison, all of them must hold. They become the contract's Filter, never a string.

import { byId, el, icon, ICONS, replaceChildren } from "./dom.js";

const OPERATORS = {
  OPERATOR_EQ: "is",
  OPERATOR_NE: "is not",
  OPERATOR_IN: "is one of",
  OPERATOR_LT: "is below",
  OPERATOR_LE: "is at most",
  OPERATOR_GT: "is above",
  OPERATOR_GE: "is at least",
  OPERATOR_EXISTS: "has a value",
};
const UNORDERED = new Set(["OPERATOR_LT", "OPERATOR_LE", "OPERATOR_GT", "OPERATOR_GE"]); // not for bools
const BUILT_IN = {
  document_id: "string",
  title: "string",
  uri: "string",
  source: "string",
  content_type: "string",
  section: "string",
  page: "number",
};
const FIELD_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const INPUT_TYPES = { string: "text", number: "number", time: "datetime-local" };

/** @typedef {{field: string, operator: string, type: string, values: string[]}} Chip */

/** The contract's Value of a text, or null when it is none of its type. Pure. */
export function typedValue(type, text) {
  switch (type) {
    case "number": {
      const number = Number(text);
      return text.trim() !== "" && Number.isFinite(number) ? { numberValue: number } : null;
    }
    case "bool":
      return text === "true" || text === "false" ? { boolValue: text === "true" } : null;
    case "time": {
      const time = new Date(text);
      return Number.isNaN(time.getTime()) ? null : { timeValue: time.toISOString() };
    }
    default:
      return text.length > 0 && text.length <= 1024 ? { stringValue: text } : null;
  }
}

/** The Filter of chips, or undefined for none. Pure. */
export function toFilter(chips) {
  const nodes = chips.map(({ field, operator, type, values }) => {
    const typed = values.map((text) => typedValue(type, text));
    const operand =
      operator === "OPERATOR_IN" ? { values: typed } : operator === "OPERATOR_EXISTS" ? {} : { value: typed[0] };
    return { comparison: { field, operator, ...operand } };
  });
  if (nodes.length === 0) return undefined;
  return nodes.length === 1 ? nodes[0] : { and: { filters: nodes } };
}

/** A chip in words. Pure. */
export function chipWords({ field, operator, type, values }) {
  const shown = values.map((text) => (type === "bool" ? (text === "true" ? "yes" : "no") : text));
  return [field, OPERATORS[operator], shown.join(", ")].filter(Boolean).join(" ");
}

export class Filters {
  #chips = [];
  #fields = BUILT_IN;
  #box = byId("chips");
  #form = byId("filter-form");
  #opener = byId("add-filter");
  #field = byId("filter-field");
  #operator = byId("filter-operator");
  #type = byId("filter-type");
  #error = byId("filter-error");

  constructor() {
    this.#opener.addEventListener("click", () => this.#toggle(this.#form.hidden));
    byId("cancel-filter").addEventListener("click", () => this.#toggle(false));
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#toggle(false);
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("input", () => this.#fieldChanged());
    this.#operator.addEventListener("change", () => this.#showValue());
    this.#type.addEventListener("change", () => this.#typeChanged());
    this.setFields({});
  }

  get chips() {
    return this.#chips.map((chip) => ({ ...chip }));
  }

  set chips(chips) {
    this.#chips = chips;
    this.#render();
  }

  get value() {
    return toFilter(this.#chips);
  }

  /** The fields of the collection and their types, as GetCollection gives them. */
  setFields(fields) {
    const own = Object.entries(fields).map(([name, type]) => [
      name,
      String(type).replace("FIELD_TYPE_", "").toLowerCase(),
    ]);
    this.#fields = { ...BUILT_IN, ...Object.fromEntries(own) };
    replaceChildren(
      byId("filter-fields"),
      Object.keys(this.#fields).map((name) => el("option", { value: name })),
    );
    this.#fieldChanged();
  }

  everyDocument() {
    this.chips = this.#chips.filter((chip) => chip.field !== "document_id");
  }

  /** Answer from one document only; it takes the place of another one named before. */
  only(documentId) {
    this.everyDocument();
    this.chips = [...this.#chips, { field: "document_id", operator: "OPERATOR_EQ", type: "string", values: [documentId] }];
  }

  #toggle(isOpen) {
    this.#form.hidden = !isOpen;
    this.#opener.setAttribute("aria-expanded", String(isOpen));
    this.#error.hidden = true;
    (isOpen ? this.#field : this.#opener).focus();
  }

  #fieldChanged() {
    const known = this.#fields[this.#field.value.trim()];
    this.#type.value = known ?? this.#type.value;
    this.#type.disabled = known !== undefined;
    this.#typeChanged();
  }

  #typeChanged() {
    const before = this.#operator.value;
    const isBool = this.#type.value === "bool";
    const offered = Object.entries(OPERATORS).filter(([operator]) => !(isBool && UNORDERED.has(operator)));
    replaceChildren(
      this.#operator,
      offered.map(([operator, words]) => el("option", { value: operator }, words)),
    );
    if (offered.some(([operator]) => operator === before)) this.#operator.value = before;
    this.#showValue();
  }

  #showValue() {
    const needsNone = this.#operator.value === "OPERATOR_EXISTS";
    byId("filter-value-field").hidden = needsNone;
    const kept = document.getElementById("filter-value")?.value ?? "";
    replaceChildren(byId("filter-value-slot"), this.#valueInput());
    const input = byId("filter-value");
    if (input.type !== "datetime-local" && input.tagName === "INPUT") input.value = kept;
  }

  #valueInput() {
    if (this.#type.value === "bool") {
      return el(
        "select",
        { id: "filter-value" },
        el("option", { value: "true" }, "Yes"),
        el("option", { value: "false" }, "No"),
      );
    }
    const isMany = this.#operator.value === "OPERATOR_IN";
    const type = isMany ? "text" : INPUT_TYPES[this.#type.value];
    return el("input", {
      id: "filter-value",
      type,
      autocomplete: "off",
      maxlength: "1024",
      step: type === "number" || type === "datetime-local" ? "any" : null,
      placeholder: isMany ? "Values, separated by commas" : null,
    });
  }

  #submit() {
    const chip = {
      field: this.#field.value.trim(),
      operator: this.#operator.value,
      type: this.#type.value,
      values: this.#values(),
    };
    const fault = faultOf(chip);
    this.#error.hidden = !fault;
    this.#error.textContent = fault;
    if (fault) return;
    this.chips = [...this.#chips, chip];
    this.#field.value = "";
    byId("filter-value").value = "";
    this.#toggle(false);
  }

  #values() {
    const text = byId("filter-value").value;
    if (this.#operator.value === "OPERATOR_EXISTS") return [];
    return this.#operator.value === "OPERATOR_IN"
      ? text
          .split(",")
          .map((part) => part.trim())
          .filter(Boolean)
      : [text];
  }

  #render() {
    this.#box.hidden = this.#chips.length === 0;
    replaceChildren(
      this.#box,
      this.#chips.map((chip, index) => this.#chipNode(chip, index)),
    );
  }

  #chipNode(chip, index) {
    const words = chipWords(chip);
    const remove = () => {
      this.chips = this.#chips.filter((_, at) => at !== index);
      (this.#box.querySelector("button") ?? this.#opener).focus();
    };
    return el(
      "span.chip",
      { role: "listitem" },
      el("span", {}, words),
      el(
        "button",
        { type: "button", aria: { label: `Remove filter: ${words}` }, on: { click: remove } },
        icon(ICONS.close),
      ),
    );
  }
}

function faultOf({ field, operator, type, values }) {
  if (!FIELD_NAME.test(field)) return "Name a field: letters, digits, dots, dashes and underscores.";
  if (operator === "OPERATOR_EXISTS") return "";
  if (values.length === 0 || values.some((text) => typedValue(type, text) === null)) {
    return { number: "Enter a number.", time: "Enter a date and a time." }[type] ?? "Enter a value.";
  }
  return values.length > 256 ? "At most 256 values." : "";
}
