// What every library is asked to do, and how a process that holds one is told: the same as in
// ../libraries/asking.py. Arguments: BASE_URL KEY; stdin: a JSON list of tasks; stdout: a line
// {id, text, error} for each.

import { readFileSync } from "node:fs";

const AT_ONCE = 6;

export const TOOL_NAME = "get_weather";
export const TOOL_USE = "The weather in a city, now";
export const CITY = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

export const weather = (city) => `It is 21 degrees in ${city}.`;
export const dataUrl = (image) => `data:image/png;base64,${image}`;

export async function answerAll(answer) {
  const endpoint = { root: process.argv[2], v1: `${process.argv[2]}/v1`, key: process.argv[3] };
  const tasks = JSON.parse(readFileSync(0, "utf-8"));
  let next = 0;
  async function work() {
    while (next < tasks.length) {
      const task = tasks[next++];
      const answered = { id: task.id, text: "", error: null };
      try {
        answered.text = await answer(endpoint, task);
      } catch (error) {
        console.error(error);
        answered.error = `${error.name}: ${error.message}`;
      }
      console.log(JSON.stringify(answered));
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}
