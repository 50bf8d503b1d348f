// The API's manual, drawn from /openapi.json. Text is only ever set as text: a description is data, not markup.

const VERBS = ["get", "post", "put", "patch", "delete"];
const MAX_DEPTH = 6; // schemas may hold themselves (a filter holds filters)

const routes = document.getElementById("routes");
const template = document.getElementById("route");

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function resolver(api) {
  return (item) => {
    if (!item || !item.$ref) return item || {};
    const found = item.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
    return { name: item.$ref.split("/").pop(), ...found }; // a parameter has a name of its own
  };
}

function typeOf(schema, resolve) {
  const found = resolve(schema);
  if (found.enum) return found.enum.join(" | ");
  if (found.type === "array") return `list of ${typeOf(found.items, resolve)}`;
  if (found.anyOf) {
    const told = found.anyOf.filter((part) => !part.enum?.includes("NaN")); // every double may be that
    return told.map((part) => typeOf(part, resolve)).join(" or ");
  }
  if (found.additionalProperties && found.additionalProperties !== true && !found.properties) {
    return `map to ${typeOf(found.additionalProperties, resolve)}`;
  }
  if (found.name) return found.name;
  return [].concat(found.type || "any").join(" or ") + (found.format ? ` (${found.format})` : "");
}

function membersOf(schema, resolve) {
  const found = resolve(schema);
  if (found.type === "array") return membersOf(found.items, resolve);
  if (!found.properties && found.additionalProperties && found.additionalProperties !== true) {
    return membersOf(found.additionalProperties, resolve);
  }
  return found;
}

function fields(schema, resolve, above = []) {
  const found = membersOf(schema, resolve);
  const list = element("ul", "fields");
  for (const [name, property] of Object.entries(found.properties || {})) {
    const item = element("li");
    item.append(element("code", "", name), " ", element("span", "type", typeOf(property, resolve)));
    const text = property.description || resolve(property).description;
    if (text) item.append(` — ${text.split("\n")[0]}`);
    const inner = membersOf(property, resolve);
    if (inner.properties && above.length < MAX_DEPTH && !above.includes(inner.name)) {
      item.append(fields(property, resolve, [...above, inner.name]));
    }
    list.append(item);
  }
  return list;
}

function parameterTable(parameters, resolve) {
  const table = element("table");
  for (const item of parameters.map(resolve)) {
    const row = element("tr");
    const schema = item.schema || Object.values(item.content)[0].schema;
    row.append(
      element("td", "", item.name),
      element("td", "type", `${item.in}${item.required ? ", required" : ""}: ${typeOf(schema, resolve)}`),
      element("td", "", item.description || ""),
    );
    table.append(row);
  }
  return table;
}

function bodyParts(content, resolve) {
  return Object.entries(content || {}).flatMap(([type, media]) => {
    const parts = [element("p", "type", type)];
    for (const event of media.schema?.oneOf || []) {
      const data = event.properties.data;
      parts.push(element("p", "", `event: ${event.title}`), fields(data.contentSchema || {}, resolve));
    }
    return media.schema?.oneOf ? parts : [...parts, fields(media.schema || {}, resolve)];
  });
}

function responseParts(responses, resolve) {
  return Object.entries(responses).flatMap(([code, response]) => {
    const found = resolve(response);
    const line = element("p", "", `${code}: ${found.description}`);
    return code.startsWith("2") ? [line, ...bodyParts(found.content, resolve)] : [line];
  });
}

function drawn(verb, path, operation, resolve) {
  const made = template.content.cloneNode(true).querySelector(".route");
  made.querySelector(".verb").textContent = verb.toUpperCase();
  made.querySelector(".path").textContent = path;
  made.querySelector(".summary").textContent = operation.summary || "";
  made.querySelector(".text").textContent = operation.description || "";
  made.dataset.words = `${verb} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
  // Drawn when first opened: the filters' schemas alone are hundreds of lines.
  made.addEventListener("toggle", () => fill(made.querySelector(".parts"), operation, resolve), { once: true });
  return made;
}

function fill(parts, operation, resolve) {
  if (operation.parameters) parts.append(element("h3", "", "Parameters"), parameterTable(operation.parameters, resolve));
  if (operation.requestBody) {
    parts.append(element("h3", "", "Body"), ...bodyParts(operation.requestBody.content, resolve));
  }
  parts.append(element("h3", "", "Responses"), ...responseParts(operation.responses, resolve));
}

function draw(api) {
  const resolve = resolver(api);
  const paragraphs = api.info.description.split("\n\n").map((text) => element("p", "", text.replaceAll("\n", " ")));
  routes.replaceChildren(...paragraphs);
  for (const tag of api.tags) {
    const section = element("section");
    section.append(element("h2", "", tag.name), element("p", "type", tag.description));
    for (const [path, operations] of Object.entries(api.paths)) {
      for (const verb of VERBS.filter((name) => operations[name]?.tags.includes(tag.name))) {
        section.append(drawn(verb, path, operations[verb], resolve));
      }
    }
    routes.append(section);
  }
  routes.removeAttribute("aria-busy");
}

function find(word) {
  for (const route of document.querySelectorAll(".route")) {
    route.hidden = !route.dataset.words.includes(word.trim().toLowerCase());
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".route:not([hidden])");
  }
}

async function start() {
  const response = await fetch("/openapi.json");
  if (!response.ok) {
    routes.replaceChildren(element("p", "", "The description could not be read; reload to try again."));
    return;
  }
  draw(await response.json());
  document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
}

start();
