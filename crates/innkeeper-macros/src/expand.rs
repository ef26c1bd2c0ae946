//! Writes what an `impl` block of a process stands for.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::Type;

use crate::parse::{Callback, Handler, Init, Process};

pub(crate) fn process(process: &Process) -> TokenStream {
    let block = &process.block;
    let messages = messages(process);
    let replies = replies(process);
    let implementation = implementation(process);
    let (api, remote) = (api(process), remote(process));
    quote! {
        #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
        #block
        #messages
        #replies
        #implementation
        #api
        #remote
    }
}

/// What makes it a process that others may talk to from another node.
fn remote(process: &Process) -> Option<TokenStream> {
    let (this, name) = (&process.block.self_ty, process.name.to_string());
    let exposes = process.options.exposes.iter().map(|exposes| {
        quote! {
            const EXPOSES: ::core::option::Option<::innkeeper_cluster::Exposes> =
                ::core::option::Option::Some(::innkeeper_cluster::Exposes::of::<#exposes>());
        }
    });
    process.options.is_remote.then(|| {
        quote! {
            impl ::innkeeper_cluster::Remote for #this {
                const NAME: &'static str = #name;
                #(#exposes)*
            }
        }
    })
}

/// What makes a message one that can be written down, where it has to be.
fn written(process: &Process) -> Option<TokenStream> {
    process.options.is_remote.then(|| {
        quote! {
            #[derive(::innkeeper_cluster::serde::Serialize)]
            #[derive(::innkeeper_cluster::serde::Deserialize)]
            #[serde(crate = "::innkeeper_cluster::serde")]
        }
    })
}

/// Whether it is a `Subscriber`, by its name: such a one is carried, not written down.
fn is_subscriber(of: &Type) -> bool {
    let Type::Path(of) = of else { return false };
    of.path.segments.last().is_some_and(|last| last.ident == "Subscriber")
}

fn messages(process: &Process) -> TokenStream {
    let (vis, name) = (&process.vis, format_ident!("{}Message", process.name));
    let doc = format!("What can be said to a `{}`.", process.name);
    let variants = process.handlers.iter().map(|handler| {
        let (variant, docs) = (variant(&handler.name), &handler.docs);
        let fields = handler.args.iter().map(|(name, of)| {
            let carried = (process.options.is_remote && is_subscriber(of))
                .then(|| quote!(#[serde(with = "::innkeeper_cluster::subscriber")]));
            quote!(#carried #name: #of)
        });
        quote!(#(#docs)* #variant { #(#fields),* })
    });
    let written = written(process);
    quote! {
        #[doc = #doc]
        #[allow(missing_docs, missing_debug_implementations, clippy::large_enum_variant)]
        #written
        #vis enum #name { #(#variants),* }
    }
}

fn replies(process: &Process) -> TokenStream {
    let (vis, message) = (&process.vis, format_ident!("{}Message", process.name));
    let name = format_ident!("{}Reply", process.name);
    let doc = format!("What a `{}` answers.", process.name);
    let variants = process.handlers.iter().filter(|handler| handler.is_call).map(|handler| {
        let (variant, reply) = (variant(&handler.name), reply(handler));
        quote!(#variant(#reply))
    });
    let written = written(process);
    quote! {
        #[doc = #doc]
        #[allow(missing_docs, missing_debug_implementations, clippy::large_enum_variant)]
        #written
        #vis enum #name { #(#variants),* }

        impl ::innkeeper::Message for #message {
            type Reply = #name;
        }
    }
}

fn implementation(process: &Process) -> TokenStream {
    let this = &process.block.self_ty;
    let message = format_ident!("{}Message", process.name);
    let Init { args, takes_ctx, is_async } = &process.init;
    let args_type = args.as_ref().map_or_else(|| quote!(()), |args: &Type| quote!(#args));
    let args = args.iter().map(|_| quote!(args));
    let passed = args.chain(takes_ctx.then(|| quote!(ctx)));
    let init = awaited(quote!(<#this>::init(#(#passed),*)), *is_async);
    let arms = process.handlers.iter().map(|handler| arm(process, handler));
    let callbacks = process.callbacks.iter().map(|one| callback(this, one));
    let handling = if process.handlers.is_empty() {
        quote!({
            let _ = (reply, ctx);
            match message {}
        })
    } else {
        quote!(match message { #(#arms)* })
    };
    quote! {
        #[allow(unused_variables)]
        impl ::innkeeper::Process for #this {
            type Args = #args_type;
            type Message = #message;

            async fn init(
                args: &Self::Args,
                ctx: &mut ::innkeeper::Context<Self>,
            ) -> ::core::result::Result<Self, ::innkeeper::StartError> {
                #init
            }

            async fn handle(
                &mut self,
                message: #message,
                reply: ::innkeeper::ReplyTo<#message>,
                ctx: &mut ::innkeeper::Context<Self>,
            ) {
                #handling
            }

            #(#callbacks)*
        }
    }
}

fn arm(process: &Process, handler: &Handler) -> TokenStream {
    let this = &process.block.self_ty;
    let (message, reply) =
        (format_ident!("{}Message", process.name), format_ident!("{}Reply", process.name));
    let (variant, method) = (variant(&handler.name), &handler.name);
    let names: Vec<_> = handler.args.iter().map(|(name, _)| name).collect();
    let ctx = handler.takes_ctx.then(|| quote!(ctx));
    let passed = names.iter().map(|name| quote!(#name)).chain(ctx);
    let done = awaited(quote!(<#this>::#method(self, #(#passed),*)), handler.is_async);
    if handler.is_call {
        quote!(#message::#variant { #(#names),* } => reply.send(#reply::#variant(#done)),)
    } else {
        quote!(#message::#variant { #(#names),* } => #done,)
    }
}

fn callback(this: &Type, callback: &Callback) -> TokenStream {
    let name = &callback.name;
    let event = callback.takes_event.then(|| quote!(event));
    let passed = event.into_iter().chain(callback.takes_ctx.then(|| quote!(ctx)));
    let done = awaited(quote!(<#this>::#name(self, #(#passed),*)), callback.is_async);
    let (event, output) = match name.to_string().as_str() {
        "terminate" => (quote!(event: &::innkeeper::ExitReason,), quote!(())),
        "down" => (quote!(event: ::innkeeper::Down,), quote!(())),
        "link_exit" => (quote!(event: ::innkeeper::LinkExit,), quote!(())),
        "lagged" => (quote!(event: ::innkeeper::Lagged,), quote!(())),
        "on_handoff" => (quote!(), quote!(::core::option::Option<::std::vec::Vec<u8>>)),
        _ => (quote!(), quote!(bool)),
    };
    quote! {
        async fn #name(&mut self, #event ctx: &mut ::innkeeper::Context<Self>) -> #output {
            #done
        }
    }
}

fn api(process: &Process) -> TokenStream {
    let vis = &process.vis;
    let (name, message, reply_enum) = (
        format_ident!("{}Api", process.name),
        format_ident!("{}Message", process.name),
        format_ident!("{}Reply", process.name),
    );
    let doc = format!("How to talk to a `{}`: by its address, or by its key.", process.name);
    let methods = process.handlers.iter().map(|handler| {
        let (method, variant, docs) = (&handler.name, variant(&handler.name), &handler.docs);
        let params = handler.args.iter().map(|(name, of)| quote!(#name: #of));
        let names = handler.args.iter().map(|(name, _)| name);
        let said = quote!(#message::#variant { #(#names),* });
        if !handler.is_call {
            return quote! {
                #(#docs)*
                fn #method(&self, #(#params),*) -> Self::Cast<'_> {
                    ::innkeeper::Target::cast_with(self, #said)
                }
            };
        }
        let reply = reply(handler);
        quote! {
            #(#docs)*
            #[allow(unreachable_patterns)]
            fn #method(&self, #(#params),*) -> Self::Call<'_, #reply> {
                ::innkeeper::Target::call_with(self, #said, |reply| match reply {
                    #reply_enum::#variant(reply) => reply,
                    _ => ::core::unreachable!("the handler of a message answers it"),
                })
            }
        }
    });
    quote! {
        #[doc = #doc]
        #[allow(missing_docs, clippy::missing_errors_doc, clippy::should_implement_trait)]
        #vis trait #name: ::innkeeper::Target<#message> {
            #(#methods)*
        }

        impl<T: ::innkeeper::Target<#message>> #name for T {}
    }
}

fn reply(handler: &Handler) -> TokenStream {
    handler.reply.as_ref().map_or_else(|| quote!(()), |reply| quote!(#reply))
}

fn awaited(call: TokenStream, is_async: bool) -> TokenStream {
    if is_async { quote!(#call.await) } else { call }
}

/// `stop_all` -> `StopAll`.
fn variant(method: &Ident) -> Ident {
    let text = method.to_string();
    let words = text.trim_start_matches("r#").split('_').filter(|word| !word.is_empty());
    let camel: String = words
        .map(|word| {
            let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
            first.to_uppercase() + rest
        })
        .collect();
    Ident::new(&camel, method.span())
}
