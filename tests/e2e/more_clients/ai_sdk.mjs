// The AI SDK (ai) with its providers: @ai-sdk/openai speaks Chat and Responses,
// @ai-sdk/openai-compatible speaks Chat, @ai-sdk/anthropic speaks Messages. Which provider is the
// third argument. It runs its tools itself.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, jsonSchema, streamText, tool } from "ai";

import { CITY, TOOL_USE, answerAll, weather } from "./asking.mjs";

const PROVIDERS = {
  openai: ({ v1, key }, { protocol, model }) => {
    const provider = createOpenAI({ baseURL: v1, apiKey: key });
    return protocol === "chat" ? provider.chat(model) : provider.responses(model);
  },
  "openai-compatible": ({ v1, key }, { model }) =>
    createOpenAICompatible({ name: "polyvox", baseURL: v1, apiKey: key })(model),
  anthropic: ({ v1, key }, { model }) => createAnthropic({ baseURL: v1, apiKey: key })(model),
};

async function answer(endpoint, task) {
  const content = [{ type: "text", text: task.prompt }];
  if (task.image) {
    content.push({ type: "file", data: task.image, mediaType: "image/png" });
  }
  const asked = {
    model: PROVIDERS[process.argv[4]](endpoint, task),
    messages: [{ role: "user", content }],
    stopWhen: isStepCount(3),
  };
  if (task.tool) {
    asked.tools = {
      get_weather: tool({
        description: TOOL_USE,
        inputSchema: jsonSchema(CITY),
        execute: ({ city }) => weather(city),
      }),
    };
  }
  if (!task.stream) return (await generateText(asked)).text;
  if (task.idle_limit_s !== null) asked.timeout = { chunkMs: task.idle_limit_s * 1000 };
  let failure = null;
  const result = streamText({
    ...asked,
    onError: ({ error }) => {
      failure = error;
    },
  });
  await result.consumeStream();
  if (failure) throw failure;
  return await result.text;
}

await answerAll(answer);
